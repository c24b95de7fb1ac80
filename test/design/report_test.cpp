// The report: a page that stands alone. That a browser runs it is test/tap/009_report.pl's to see.
#include "design/report.h"

#include <gtest/gtest.h>

#include <regex>

namespace imagecalc {
namespace {

Report sample_report() {
  Report report;
  report.title = "Design 1 of public.\"a<b\"";
  report.facts = {{"chosen", "1x1/b8/k2/q20@64"}, {"accuracy", "91.5 %"}};
  AccuracyPlot plot{.title = "accuracy", .cost_title = "bytes", .formats = {}, .chosen = {}, .reference = {}};
  for (int i = 0; i < 20; ++i) {
    const std::string name = "1x1/b8/k" + std::to_string(i % 8 + 1) + "/q20@64";
    report.formats.push_back({name, 0.5 + 0.02 * i, 0.4, 0.95, 100.0 + i, 40.0 + 10 * i, i % 5 == 0});
    plot.formats.push_back({name, 40.0 + 10 * i, 0.5 + 0.02 * i, 0.4, 0.95, false});
  }
  report.plots = {draw(plot), draw(plot)};
  report.rebuilt = {"1x1/b8/k2/q20@64", "1x1/b8/k8/q20@64"};
  report.pictures = {{"AAAA", {"BBBB", "CCCC"}}, {"DDDD", {"EEEE", "FFFF"}}};
  return report;
}

long count(const std::string& page, const std::string& pattern) {
  const std::regex regex(pattern);
  return std::distance(std::sregex_iterator(page.begin(), page.end(), regex), std::sregex_iterator());
}

TEST(Report, IsAPageThatAsksForNothingOfElsewhere) {
  const std::string page = write_page(sample_report());
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_TRUE(page.ends_with("</html>\n"));
  EXPECT_NE(page.find("<h1>Design 1 of public.&quot;a&lt;b&quot;</h1>"), page.npos);
  EXPECT_EQ(count(page, "(src|href)='?\"?(https?:|//)"), 0);
  EXPECT_EQ(count(page, "<svg "), 2);
  EXPECT_EQ(count(page, "<p>Dark dots"), 1);
  EXPECT_EQ(count(page, "<input type='range'"), 2);
  EXPECT_EQ(count(page, "src='data:image/jpeg;base64,[A-F]{4}'"), 6);
  EXPECT_EQ(count(page, "\\[\"1x1/b8/k[1-8]/q20@64\",0\\.[0-9]{4},0\\.4000,0\\.9500,1[0-9]+,[0-9]+,(true|false)\\]"), 20);
}

TEST(Report, DoesWithoutPictures) {
  Report report = sample_report();
  report.pictures.clear();
  EXPECT_EQ(count(write_page(report), "<img|Pictures"), 0);
}

}  // namespace
}  // namespace imagecalc
