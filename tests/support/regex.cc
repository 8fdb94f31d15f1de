#include "tests/support/regex.h"

#include <regex>

namespace sluice::test {

class Regex::Compiled : public std::regex {
 public:
  using std::regex::regex;
};

Regex::Regex(const std::string& pattern) : regex_(std::make_shared<const Compiled>(pattern)) {}

bool Regex::is_in(const std::string& text) const { return std::regex_search(text, *regex_); }

bool Regex::matches(const std::string& text) const { return std::regex_match(text, *regex_); }

std::vector<std::string> Regex::first_in(const std::string& text) const {
  std::smatch found;
  if (!std::regex_search(text, found, *regex_)) return {};
  return {found.begin(), found.end()};
}

std::vector<std::string> Regex::all_in(const std::string& text) const {
  std::vector<std::string> all;
  for (auto each = std::sregex_iterator(text.begin(), text.end(), *regex_);
       each != std::sregex_iterator(); ++each) {
    all.push_back(each->str());
  }
  return all;
}

std::string Regex::replaced(const std::string& text, const std::string& replacement) const {
  return std::regex_replace(text, *regex_, replacement);
}

}  // namespace sluice::test
