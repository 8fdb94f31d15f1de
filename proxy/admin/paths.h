#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/admin/http.h"
#include "proxy/admin/http_server.h"

namespace sluice::admin {

/// The paths that the admin thread answers, each with its method:
///
///     paths.add_read("/livez", [] { return make_response("text/plain", "alive\n"); });
///     paths.add("POST", "/v1/connections/{id}/kill", [](Paths::Call call) { … });
class Paths {
 public:
  /// A request whose path and method were found.
  struct Call {
    HttpRequest request;
    std::vector<std::string> parameters;  ///< what the braces stand for, in order, decoded
    HttpServer::Reply reply;              ///< takes the response, once; now or later, on any thread
  };
  using Handler = std::function<void(Call)>;

  /// Requests of this method for paths like `pattern` go to the handler, which must not block. A
  /// part of the pattern in braces stands for one part of a path that is not empty. "GET" includes
  /// HEAD.
  void add(std::string method, std::string_view pattern, Handler handler);
  /// GET is answered at once.
  void add_read(std::string_view pattern, std::function<HttpResponse()> answer);

  /// Lets the handler answer, or answers that there is none.
  void answer(HttpRequest request, HttpServer::Reply reply) const;

 private:
  struct Entry {
    std::string method;
    std::vector<std::string> parts;
    Handler handler;
  };
  std::vector<Entry> entries_;
};

}  // namespace sluice::admin
