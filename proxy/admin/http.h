#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::admin {

/// Where a request came in.
enum class Peer : std::uint8_t {
  unix_socket,
  loopback,  ///< a TCP address of loopback
  remote,    ///< any other TCP address
};

/// A request: what handlers need of it.
struct HttpRequest {
  std::string method;  ///< as sent: "GET"
  std::string target;  ///< as sent, with its query; begins with '/'
  Peer peer = Peer::remote;
  // Fields of the header; nullopt if absent. Only requests of HTTP/1.0 have no `host`.
  std::optional<std::string> host = {};
  std::optional<std::string> origin = {};
  std::optional<std::string> authorization = {};
  std::optional<std::string> content_type = {};
  std::optional<std::string> if_none_match = {};
  std::optional<std::string> x_sluice = {};
  std::string body = {};

  /// The target without its query.
  [[nodiscard]] std::string_view path() const {
    return std::string_view(target).substr(0, target.find('?'));
  }
  /// Whether the method promises to change nothing.
  [[nodiscard]] bool only_reads() const { return method == "GET" || method == "HEAD"; }
};

struct HttpResponse {
  unsigned status = 200;
  std::string content_type = {};
  std::shared_ptr<const std::string> body = {};  ///< shared, so that many can be sent the same
  std::vector<std::pair<std::string, std::string>> fields = {};  ///< further ones of the header
  std::string cache_control = "no-store";
};

/// A part of a path without its percent encoding; nullopt if that is broken.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view part);

[[nodiscard]] HttpResponse make_response(std::string content_type, std::string body);

/// Says that it is done, and nothing else (204).
[[nodiscard]] HttpResponse make_no_content();

/// An error as `application/problem+json` (RFC 9457). `detail` is a sentence for people.
[[nodiscard]] HttpResponse make_problem(unsigned status, std::string_view detail);

/// "Not Found"; "Error" for a status that is not used here.
[[nodiscard]] std::string_view reason_phrase(unsigned status);

/// The whole header of a response, up to its empty line. `now` is the time for `Date`, in seconds
/// since the epoch.
[[nodiscard]] std::string response_header(const HttpResponse& response, bool keep_alive,
                                          std::int64_t now);

}  // namespace sluice::admin
