#include "tests/tools/bench/bench_program.h"

#include <cstdlib>
#include <stdexcept>

#include "tests/support/regex.h"
#include "tests/support/temp_dir.h"

namespace sluice::test {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) throw std::runtime_error(std::string(name) + " must be set");
  return value;
}

std::vector<std::string> bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), environment("SLUICE_BENCH"));
  return arguments;
}

Compared compare_briefly(const std::vector<std::string>& arguments) {
  Compared compared;
  for (const char* time : {"100ms", "1s", "10s"}) {
    std::vector<std::string> timed = bench(arguments);
    timed.insert(timed.end(), {"--time", time});
    Process process(timed);
    compared.status = process.wait(kLong);
    compared.output = process.standard_output();
    compared.error = process.standard_error();
    if (compared.output.find(" in the measured time\n") == std::string::npos) break;
  }
  return compared;
}

ServingEnd::ServingEnd(const std::string& listen) : process_(bench({"serve", "--listen", listen})) {
  const std::string before = "listening on ";
  const auto line = process_.wait_for_output_line(Regex("^" + before));
  if (!line) throw std::runtime_error("it does not serve: " + process_.standard_error());
  address_ = line->substr(before.size());
}

std::uint16_t ServingEnd::port() const {
  return static_cast<std::uint16_t>(std::stoi(address_.substr(address_.rfind(':') + 1)));
}

Loaded load(const std::string& to, const std::string& workload,
            const std::vector<std::string>& more, const char* time) {
  const TempDir folder;
  const std::string file = folder.file("result.json");
  std::vector<std::string> arguments{"load",   "--to", to,       "--workload", workload,
                                     "--time", time,   "--json", file};
  arguments.insert(arguments.end(), more.begin(), more.end());
  Process process(bench(arguments));
  Loaded loaded;
  loaded.status = process.wait(kLong);
  loaded.output = process.standard_output();
  loaded.error = process.standard_error();
  const std::string text = read_text(file);
  if (text.empty()) throw std::runtime_error("no result: " + loaded.error);
  loaded.run = json::parse(text).at("workloads").at(0).at("runs").at(0).as_object();
  return loaded;
}

Loaded load(std::uint16_t port, const std::string& workload, const std::vector<std::string>& more,
            const char* time) {
  return load("127.0.0.1:" + std::to_string(port), workload, more, time);
}

}  // namespace sluice::test
