#include "proxy/admin/page_files.h"

#include <string>
#include <string_view>
#include <utility>

namespace sluice::admin {
namespace {

// Nothing from elsewhere, nothing inline, and no frame around the page: its buttons change things.
constexpr std::string_view kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// Whether the client has what `tag` names. A field holds "*" or a list of tags, which can be weak;
// no tag of ours is a part of another one.
bool is_known(const HttpRequest& request, std::string_view tag) {
  if (!request.if_none_match) return false;
  const std::string_view known = *request.if_none_match;
  return known == "*" || known.find(tag) != known.npos;
}

void add_file(Paths& paths, std::string_view path, std::string_view type, const page::Asset& file) {
  HttpResponse whole = make_response(std::string(type), std::string(file.text));
  const std::string tag = '"' + std::string(file.hash) + '"';
  whole.cache_control = "no-cache";
  whole.fields = {{"ETag", tag},
                  {"Content-Security-Policy", std::string(kPolicy)},
                  {"Referrer-Policy", "no-referrer"}};
  HttpResponse unchanged = whole;
  unchanged.status = 304;
  unchanged.content_type.clear();
  unchanged.body = nullptr;
  paths.add("GET", path, [whole, unchanged, tag](const Paths::Call& call) {
    call.reply(is_known(call.request, tag) ? unchanged : whole);
  });
}

}  // namespace

void add_page(Paths& paths) {
  add_file(paths, "/", "text/html; charset=utf-8", kPageDocument);
  add_file(paths, "/assets/page.css", "text/css; charset=utf-8", kPageStyle);
  add_file(paths, "/assets/page.js", "text/javascript; charset=utf-8", kPageScript);
}

}  // namespace sluice::admin
