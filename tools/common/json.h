#pragma once

// Boost.JSON, header-only: compiled once, in json.cc, which every user of it links.
#include <boost/json.hpp>

namespace sluice {

namespace json = boost::json;

}  // namespace sluice
