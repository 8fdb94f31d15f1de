#pragma once

#include <string_view>

namespace sluice::page {

/// A script, a style sheet or an HTML document that the build embeds with embed.py. UTF-8; what is
/// no document can stand in a <script> or a <style> as it is.
struct Asset {
  std::string_view text;
  std::string_view hash;  ///< for a Content-Security-Policy: "sha256-…"
};

/// page.js and charts.js: charts, tables, and numbers as text. The script of a page follows it.
extern const Asset kScript;
/// page.css, for all that they make.
extern const Asset kStyle;

}  // namespace sluice::page
