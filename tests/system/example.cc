#include "tests/system/example.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

std::filesystem::path example_folder() {
  const char* folder = std::getenv("SLUICE_EXAMPLES");
  return folder != nullptr ? folder : "tools/deploy/examples";
}

std::string example_with(const std::string& name, const Replacements& replaced) {
  std::string text = read_text(example_folder() / name);
  text = Regex("(listen +=) \"[^\"]*\"").replaced(text, "$1 \"127.0.0.1:0\"");
  for (const auto& [from, to] : replaced) {
    const std::string quoted = '"' + from + '"';
    std::size_t place = text.find(quoted);
    if (place == text.npos) throw std::runtime_error(quoted + " is not in\n" + text);
    for (; place != text.npos; place = text.find(quoted, place + to.size())) {
      text.replace(place, quoted.size(), '"' + to + '"');
    }
  }
  return text;
}

void ExampleTest::TearDown() {
  if (!daemon_) return;
  EXPECT_EQ(daemon_->terminate(), 0);
  if (HasFailure()) std::printf("the daemon's log:\n%s\n", daemon_->log().c_str());
}

void ExampleTest::start_example(const std::string& name, const Replacements& replaced,
                                std::size_t listeners) {
  DaemonOptions options;
  options.listeners = listeners;
  daemon_ = std::make_unique<Daemon>(
      std::vector<std::string>{"--config", folder_.write(name, example_with(name, replaced)),
                               "--engine", GetParam().engine},
      options);
}

}  // namespace sluice::test
