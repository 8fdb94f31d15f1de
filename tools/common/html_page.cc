#include "tools/common/html_page.h"

#include "tools/common/html_style.h"
#include "tools/common/html_text.h"

namespace sluice::html {

std::string page(const std::string& title, const std::string& heading, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
         "'unsafe-inline'\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
         escape(title) + "</title>\n<style>" + std::string(kStyle) +
         "</style>\n</head>\n<body>\n<main>\n<h1>" + escape(heading) + "</h1>\n" + body +
         "</main>\n</body>\n</html>\n";
}

std::string note(const std::string& html) {
  return "<div class=\"note\" role=\"note\">" + html + "</div>\n";
}

std::string counted(std::size_t count, const std::string& what) {
  return std::to_string(count) + ' ' + what + (count == 1 ? "" : "s");
}

std::string when(std::string started) {
  constexpr std::size_t kLength = 20;
  if (started.size() != kLength || started[10] != 'T' || started.back() != 'Z') return started;
  started[10] = ' ';
  started.pop_back();
  return started + " UTC";
}

}  // namespace sluice::html
