#pragma once

#include <string>

#include "iolib/json/json.h"
#include "iolib/page/page.h"

namespace sluice {

/// A report as one HTML page that loads nothing: the document as JSON, and page.js and `script`,
/// which draw it. The page's Content-Security-Policy lets nothing else run. `title` is shown until
/// the script sets its own; it is not escaped.
[[nodiscard]] std::string report_page(const std::string& title, const page::Asset& script,
                                      const json::object& document);

}  // namespace sluice
