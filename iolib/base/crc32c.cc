#include "iolib/base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <array>

namespace sluice {
namespace {

// Polynomials over GF(2) modulo the CRC's, bit-reflected: bit 31 is the coefficient of x^0.
constexpr std::uint32_t kPolynomial = 0x82F63B78;
constexpr std::uint32_t kOne = std::uint32_t{1} << 31;

constexpr std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if ((a & bit) != 0) product ^= b;
    b = (b & 1) != 0 ? (b >> 1) ^ kPolynomial : b >> 1;
  }
  return product;
}

// kShifts[n] is x^(8 * 2^n), the factor by which 2^n later bytes shift a CRC.
constexpr std::array<std::uint32_t, 64> kShifts = [] {
  std::array<std::uint32_t, 64> shifts{};
  std::uint32_t power = kOne >> 8;
  for (std::uint32_t& shift : shifts) {
    shift = power;
    power = multiply(power, power);
  }
  return shifts;
}();

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
  // ISA-L takes the length as an int and leaves the final inversion to the caller.
  constexpr std::size_t kMost = 1 << 30;
  std::uint32_t state = ~before;
  while (!bytes.empty()) {
    const std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kMost));
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(part.data()));
    state = ::crc32_iscsi(data, static_cast<int>(part.size()), state);
    bytes = bytes.subspan(part.size());
  }
  return ~state;
}

std::uint32_t crc32c_combine(std::uint32_t a, std::uint32_t b, std::uint64_t b_bytes) {
  for (std::size_t n = 0; b_bytes != 0; ++n, b_bytes >>= 1) {
    if ((b_bytes & 1) != 0) a = multiply(kShifts[n], a);
  }
  return a ^ b;
}

}  // namespace sluice
