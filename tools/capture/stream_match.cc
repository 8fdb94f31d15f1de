#include "tools/capture/stream_match.h"

#include <regex.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "tools/common/text.h"

namespace sluice::capture {
namespace {

// The state of a stream is one number: the length of the longest prefix of the text that the stream
// ends with (Knuth, Morris, Pratt 1977).
class Literal final : public StreamMatcher {
 public:
  explicit Literal(std::string text) : text_(std::move(text)), border_(text_.size() + 1) {
    std::size_t matched = 0;
    for (std::size_t i = 1; i < text_.size(); ++i) {
      matched = step(matched, text_[i]);
      border_[i + 1] = matched;
    }
  }

  void find(std::string_view piece, std::uint64_t offset, Stream& stream,
            const OnMatch& found) override {
    // Bytewise across the border between two pieces; within the piece by the C library's search.
    const std::size_t head = std::min(piece.size(), text_.size() - 1);
    std::size_t& matched = stream.matched;
    for (std::size_t i = 0; i < head; ++i) {
      matched = step(matched, piece[i]);
      if (matched == text_.size()) found(offset + i + 1 - text_.size(), text_);
    }
    if (piece.size() < text_.size()) return;
    for (std::size_t at = 0; at + text_.size() <= piece.size(); ++at) {
      const void* next = ::memmem(piece.data() + at, piece.size() - at, text_.data(), text_.size());
      if (next == nullptr) break;
      at = static_cast<std::size_t>(static_cast<const char*>(next) - piece.data());
      found(offset + at, text_);
    }
    matched = 0;
    for (const char c : piece.substr(piece.size() - (text_.size() - 1))) matched = step(matched, c);
  }

  void end(End /*what*/, Stream& stream, const OnMatch& /*found*/) override { stream = {}; }

 private:
  [[nodiscard]] std::size_t step(std::size_t matched, char next) const {
    while (matched > 0 && (matched == text_.size() || text_[matched] != next)) {
      matched = border_[matched];
    }
    return text_[matched] == next ? matched + 1 : 0;
  }

  std::string text_;
  std::vector<std::size_t> border_;  // [n]: the longest proper border of the first n bytes
};

// The C library's matcher cannot be suspended, and its time may be quadratic in the length of its
// input. So it gets one window at a time, and only the matches that begin in the window's first
// half are decided. A match of up to kMostMatchBytes then lies within the window, however the
// stream was cut into pieces.
class Regex final : public StreamMatcher {
 public:
  Regex() = default;
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  ~Regex() override {
    if (compiled_well_) ::regfree(&compiled_);
  }
  Result<> compile(const std::string& text) {
    const int error = ::regcomp(&compiled_, text.c_str(), REG_EXTENDED);
    compiled_well_ = error == 0;
    if (compiled_well_) return {};
    std::array<char, 128> why{};
    ::regerror(error, &compiled_, why.data(), why.size());
    return Error{0, "--regex: " + printable(text) + ": " + why.data()};
  }

  void find(std::string_view piece, std::uint64_t offset, Stream& stream,
            const OnMatch& found) override {
    if (stream.kept.empty()) stream.kept_offset = offset;
    if (stream.kept.size() - stream.from + piece.size() < kWindowBytes) {
      stream.kept.append(piece);
      return;
    }
    window_.assign(stream.kept).append(piece);
    const std::size_t at = scan(stream, std::nullopt, found);
    // Keep one byte before it, which \b and similar operators look at.
    const std::size_t cut = at - std::min<std::size_t>(at, 1);
    stream.kept.assign(window_, cut);
    stream.kept_offset += cut;
    stream.from = at - cut;
  }

  void end(End what, Stream& stream, const OnMatch& found) override {
    window_ = stream.kept;
    scan(stream, what, found);
    stream = {};
  }

 private:
  static constexpr std::size_t kWindowBytes = 2 * kMostMatchBytes;

  // Returns the position up to which all matches are decided. With `ending`, that is the end.
  std::size_t scan(const Stream& stream, std::optional<End> ending, const OnMatch& found) const {
    std::size_t at = stream.from;
    while (at < window_.size()) {
      const std::size_t bytes = std::min(window_.size() - at, kWindowBytes);
      const bool is_last = ending && at + bytes == window_.size();
      if (bytes < kWindowBytes && !is_last) break;
      const int flags = REG_STARTEND | (stream.kept_offset == 0 ? 0 : REG_NOTBOL) |
                        (is_last && *ending == End::of_stream ? 0 : REG_NOTEOL);
      regmatch_t match{};
      match.rm_so = static_cast<regoff_t>(at);
      match.rm_eo = static_cast<regoff_t>(at + bytes);
      const bool any = ::regexec(&compiled_, window_.data(), 1, &match, flags) == 0;
      const auto begin = static_cast<std::size_t>(match.rm_so);
      const auto end = static_cast<std::size_t>(match.rm_eo);
      const std::size_t decided = is_last ? bytes + 1 : kMostMatchBytes;
      if (!any || begin - at >= decided) {
        at += std::min(decided, bytes);
        continue;
      }
      if (end > begin) {
        found(stream.kept_offset + begin, std::string_view(window_).substr(begin, end - begin));
      }
      at = std::max(end, begin + 1);
    }
    return at;
  }

  regex_t compiled_{};
  bool compiled_well_ = false;
  std::string window_;
};

}  // namespace

Result<std::unique_ptr<StreamMatcher>> StreamMatcher::create(const Pattern& pattern) {
  if (pattern.regex.empty()) {
    return std::unique_ptr<StreamMatcher>(std::make_unique<Literal>(pattern.bytes));
  }
  auto regex = std::make_unique<Regex>();
  if (const Result<> compiled = regex->compile(pattern.regex); !compiled) return compiled.error();
  return std::unique_ptr<StreamMatcher>(std::move(regex));
}

}  // namespace sluice::capture
