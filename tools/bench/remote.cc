#include "tools/bench/remote.h"

#include "tools/bench/protocol.h"

namespace sluice::bench {
namespace {

constexpr const char* kRemoteEnd = "client";
constexpr int kAnswerTimeoutMs = 60'000;
constexpr int kStopTimeoutMs = 600'000;
constexpr int kComplaintTimeoutMs = 1'000;

Mark mark_of(const json::object& said) {
  Mark mark;
  mark.time_ns = said.at("time_ns").to_number<std::uint64_t>();
  for (const json::value& each : said.at("connections").as_array()) {
    mark.sent.push_back(each.as_array().at(0).to_number<std::uint64_t>());
    mark.received.push_back(each.as_array().at(1).to_number<std::uint64_t>());
  }
  return mark;
}

}  // namespace

Remote::Remote(const Endpoint& to, std::uint64_t run, const Opening& opening)
    : fd_(connect_to(to)), to_(to.text) {
  Hello hello;
  hello.run = run;
  send_all(fd_.get(), first_bytes(opening, hello, 0, INADDR_LOOPBACK), kRemoteEnd);
}

// Returns the answer, which can be an error.
json::object Remote::exchange(const std::string& request, int timeout_ms) {
  send_all(fd_.get(), request + '\n', kRemoteEnd);
  boost::system::error_code wrong;
  const json::value answer = json::parse(lines_.read(fd_.get(), timeout_ms, "serving end"), wrong);
  if (wrong || !answer.is_object()) fail_to_understand();
  return answer.as_object();
}

json::object Remote::ask(const std::string& request, int timeout_ms) {
  json::object said = exchange(request, timeout_ms);
  if (const json::value* error = said.if_contains("error")) {
    if (!error->is_string()) fail_to_understand();
    throw Failure(std::string(error->as_string()));
  }
  return said;
}

void Remote::fail_to_understand() const {
  throw Failure(to_ + " is not a sluice-bench serving end");
}

void Remote::begin(std::size_t threads) {
  ask("begin {\"threads\":" + std::to_string(threads) + "}", kAnswerTimeoutMs);
}

void Remote::await(std::size_t connections) {
  ask("await " + std::to_string(connections), kAnswerTimeoutMs);
}

void Remote::alive() { ask("alive", kAnswerTimeoutMs); }

std::string Remote::complaint() {
  try {
    const json::object said = exchange("alive", kComplaintTimeoutMs);
    const json::value* error = said.if_contains("error");
    return error != nullptr && error->is_string() ? std::string(error->as_string()) : "";
  } catch (const Failure&) {
    return "";
  }
}

Mark Remote::mark() { return mark_of(ask("mark", kAnswerTimeoutMs)); }

ThreadSample Remote::threads() {
  const json::object said = ask("threads", kAnswerTimeoutMs);
  ThreadSample sample;
  sample.time = said.at("time_ns").to_number<std::uint64_t>();
  for (const auto& [thread, used] : said.at("used").as_object()) {
    sample.used[thread] = used.to_number<std::uint64_t>();
  }
  return sample;
}

Mark Remote::stop() { return mark_of(ask("stop", kStopTimeoutMs)); }

}  // namespace sluice::bench
