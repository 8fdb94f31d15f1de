// Runs a fuzz target over the files of a folder, and over changes of them that are the same in each
// run. For compilers without libFuzzer.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

// In its own memory of exactly its size, so that a sanitizer notices a read behind it.
void feed(const std::string& bytes) {
  const std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

std::string changed(std::string bytes, std::mt19937_64& random) {
  if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
  if (bytes.empty()) return bytes;
  for (std::uint64_t i = random() % 6; i > 0; --i) {
    bytes[random() % bytes.size()] = static_cast<char>(random());
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int kChanges = 300;
  if (argc != 2) return 2;
  std::size_t inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    const std::string bytes = sluice::test::read_text(entry.path());
    feed(bytes);
    std::mt19937_64 random(bytes.size());
    for (int i = 0; i < kChanges; ++i) feed(changed(bytes, random));
    ++inputs;
  }
  std::printf("%zu inputs, %d changes of each\n", inputs, kChanges);
  return inputs == 0 ? 1 : 0;
}
