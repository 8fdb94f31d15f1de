// The commands that make the daemon read its configuration again, or let another process take over.
#include <chrono>
#include <cstdio>
#include <string>

#include "iolib/base/text.h"
#include "tools/ctl/api.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/fields.h"
#include "tools/ctl/views.h"

namespace sluice::ctl {
namespace {

// A reload looks up the names of the file, each for at most a minute.
constexpr Duration kReloadPatience = std::chrono::minutes(2);
// A successor has 30 s to prepare, and then 3 s to live.
constexpr Duration kTakeoverPatience = std::chrono::seconds(45);

const json::array& array_at(const json::object& object, std::string_view key) {
  static const json::array kEmpty;
  const json::value* const value = object.if_contains(key);
  return value != nullptr && value->is_array() ? value->get_array() : kEmpty;
}

void print_error(const std::string& text) {
  std::fprintf(stderr, "sluice-ctl: %s\n", one_line(text).c_str());
}

void print_errors(const json::object& answer) {
  for (const json::value& error : array_at(answer, "errors")) {
    print_error(error.is_string() ? std::string(error.get_string()) : json::serialize(error));
  }
}

void print_changes(const json::object& answer) {
  const json::array& changes = array_at(answer, "changes");
  if (!changes.empty()) std::fputs(changes_table(changes).text().c_str(), stdout);
}

}  // namespace

int run_reload(const Invocation& invocation, Client& client) {
  const Api api(client);
  const json::object answer =
      api.result(invocation.dry_run ? "/v1/reload?dry-run=1" : "/v1/reload", kReloadPatience);
  const std::string result = text_at(answer, "result");
  const bool good = result == "applied" || result == "unchanged";
  if (invocation.json) {
    std::puts(json::serialize(answer).c_str());
    return good ? 0 : kRefused;
  }
  print_changes(answer);
  if (result == "applied" && invocation.dry_run) {
    std::puts("would be applied");
  } else if (good) {
    std::puts(result.c_str());
  }
  std::fflush(stdout);
  print_errors(answer);
  if (result == "needs-takeover") {
    print_error("nothing has changed: a running process cannot do that; use sluice-ctl takeover");
  } else if (!good) {
    print_error(result + ": nothing has changed");
  }
  return good ? 0 : kRefused;
}

int run_takeover(const Invocation& invocation, Client& client) {
  const Api api(client);
  const json::object answer = api.result("/v1/takeover", kTakeoverPatience);
  const bool taken = text_at(answer, "result") == "taken";
  if (invocation.json) {
    std::puts(json::serialize(answer).c_str());
  } else if (taken) {
    std::printf("process %s has taken over\n", text_at(answer, "pid").c_str());
  }
  return taken ? 0 : kRefused;
}

}  // namespace sluice::ctl
