// A design on one page of HTML that needs no network: plots, budgets that pick a format, pictures rebuilt from formats.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "design/plot.h"

namespace imagecalc {

struct ReportFormat {
  std::string name;
  double accuracy = 0, low = 0, high = 0;  // 0..1
  double latency_us = 0, bytes = 0;
  bool measured = false;
};

// One of the user's pictures, as JPEG files in base64: as it is, and rebuilt from the formats named in Report::rebuilt.
struct ReportPicture {
  std::string original;
  std::vector<std::string> rebuilt;
};

struct Report {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts;  // what, and how much
  std::vector<ReportFormat> formats;
  std::vector<std::string> plots;  // SVG: by latency and by storage first, as draw makes them
  std::vector<std::string> rebuilt;
  std::vector<ReportPicture> pictures;
};

std::string write_page(const Report& report);

}  // namespace imagecalc
