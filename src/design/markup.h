// Text in HTML and SVG.
#pragma once

#include <string>

namespace imagecalc {

// With the characters replaced that would be read as markup, in text as well as in attributes.
inline std::string escaped(const std::string& text) {
  std::string safe;
  for (char c : text) {
    switch (c) {
      case '&': safe += "&amp;"; break;
      case '<': safe += "&lt;"; break;
      case '>': safe += "&gt;"; break;
      case '"': safe += "&quot;"; break;
      case '\'': safe += "&#39;"; break;
      default: safe += c;
    }
  }
  return safe;
}

}  // namespace imagecalc
