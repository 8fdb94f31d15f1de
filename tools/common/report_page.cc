#include "tools/common/report_page.h"

#include <string_view>

namespace sluice {
namespace {

// JSON has '<' only in strings. There the escape means the same, and nothing in a <script> can look
// like its end.
std::string embedded(const json::object& document) {
  std::string text;
  for (const char c : json::serialize(document)) c == '<' ? text += "\\u003c" : text += c;
  return text;
}

}  // namespace

std::string report_page(const std::string& title, const page::Asset& script,
                        const json::object& document) {
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  const auto add = [&](auto... parts) { (html.append(parts), ...); };
  add("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src '",
      page::kStyle.hash, "'; script-src '", page::kScript.hash, "' '", script.hash, "'\">\n");
  add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
      title, "</title>\n<style>", page::kStyle.text, "</style>\n</head>\n<body>\n<main></main>\n");
  add("<noscript><p>A script in this page draws its data, but scripts are switched off here."
      "</p></noscript>\n<script type=\"application/json\" id=\"data\">",
      embedded(document), "</script>\n");
  for (const std::string_view text : {page::kScript.text, script.text}) {
    add("<script>", text, "</script>\n");
  }
  return html + "</body>\n</html>\n";
}

}  // namespace sluice
