#include "tools/bench/html_look.h"

#include <string_view>

#include "tools/bench/html_text.h"
#include "tools/bench/names.h"

namespace sluice::bench::html {
namespace {

constexpr std::string_view kOurs = "sluice";
// Colours of the style sheet: 0 is sluice's, the next ones anybody's, the last theirs who do not
// compete.
constexpr std::size_t kColours = 6;
constexpr std::size_t kAside = 7;
// No divisor in common with the colours: together they are 30 looks before one comes again.
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

std::string class_of(const Look& look) {
  std::string classes = "k" + std::to_string(look.colour);
  if (look.ours) classes += " ours";
  if (!look.competes) classes += " aside";
  return classes;
}

std::string marker_path(const Look& look, double x, double y, double radius) {
  const auto at = [&](double dx, double dy) {
    return coordinate(x + dx * radius) + ' ' + coordinate(y + dy * radius);
  };
  const std::string r = coordinate(radius * 0.95);
  switch (look.shape) {
    case 0:
      return 'M' + at(-0.95, 0) + 'a' + r + ' ' + r + " 0 1 0 " + coordinate(radius * 1.9) + " 0a" +
             r + ' ' + r + " 0 1 0 " + coordinate(radius * -1.9) + " 0Z";
    case 1:
      return 'M' + at(-0.85, -0.85) + 'L' + at(0.85, -0.85) + 'L' + at(0.85, 0.85) + 'L' +
             at(-0.85, 0.85) + 'Z';
    case 2:
      return 'M' + at(0, -1.1) + 'L' + at(1.1, 0.85) + 'L' + at(-1.1, 0.85) + 'Z';
    case 3:
      return 'M' + at(0, -1.2) + 'L' + at(1.2, 0) + 'L' + at(0, 1.2) + 'L' + at(-1.2, 0) + 'Z';
    default:
      return 'M' + at(0, 1.1) + 'L' + at(1.1, -0.85) + 'L' + at(-1.1, -0.85) + 'Z';
  }
}

std::string key_of(const Look& look) {
  return "<svg class=\"key " + class_of(look) +
         R"(" viewBox="-7 -7 14 14" width="12" height="12" aria-hidden="true"><path class="mark" d=")" +
         marker_path(look, 0, 0, 5) + "\"/></svg>";
}

}  // namespace sluice::bench::html
