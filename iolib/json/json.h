#pragma once

// Boost.JSON as a header-only library. Its source is compiled once, in json.cc, which every user
// links.
#include <boost/json.hpp>

namespace sluice {

namespace json = boost::json;

}  // namespace sluice
