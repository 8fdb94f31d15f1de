#pragma once

#include <string_view>

namespace sluice::page {

/// A script or a style sheet that the build embeds with embed.py. UTF-8; it can stand in a <script>
/// or a <style> as it is.
struct Asset {
  std::string_view text;
  std::string_view hash;  ///< for a Content-Security-Policy: "sha256-…"
};

/// page.js: charts, tables, and numbers as text. The script of a page follows it.
extern const Asset kScript;
/// page.css, for all that page.js makes.
extern const Asset kStyle;

}  // namespace sluice::page
