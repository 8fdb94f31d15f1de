#include "tools/bench/html_look.h"

#include <string_view>

#include "tools/bench/names.h"

namespace sluice::bench::html {
namespace {

constexpr std::string_view kOurs = "sluice";
// Colours of the style sheet: 0 for sluice, 1 to kColours for the other contenders, kAside for
// those that do not compete.
constexpr std::size_t kColours = 6;
constexpr std::size_t kAside = 7;
// Coprime to kColours, so that 30 combinations come before one repeats.
constexpr std::size_t kShapes = 5;

}  // namespace

Looks looks_of(const Report& report) {
  Looks looks;
  std::size_t next = 0;
  std::size_t aside = 0;
  const auto add = [&](const std::string& name) {
    if (looks.contains(name)) return;
    Look look{.baseline = name == report.baseline};
    if (name == kOurs) {
      look.ours = true;
    } else if (!competes(name)) {
      look.competes = false;
      look.colour = kAside;
      look.shape = aside % kShapes;
      look.dash = 1 + aside++ % 2;
    } else {
      look.colour = 1 + next % kColours;
      look.shape = (next + 1) % kShapes;
      look.dash = next++ / kColours % 3;
    }
    looks[name] = look;
  };
  for (const Program& program : report.programs) add(program.name);
  for (const Section& section : report.sections) {
    for (const Row& row : section.rows) add(row.contender);
  }
  return looks;
}

}  // namespace sluice::bench::html
