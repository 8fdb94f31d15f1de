#include "iolib/capture/capture_set.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

#include "iolib/base/text.h"
#include "iolib/disk/volume.h"

namespace sluice::capture {
namespace {

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

// Identifies a file, whatever path leads to it.
using Identity = std::pair<dev_t, ino_t>;
struct Listed {
  SegmentFile file;
  Identity identity;
};

Result<> add_file(std::string path, const struct stat& about, std::vector<Listed>& to) {
  std::optional<SegmentName> name = parse_segment_name(file_name(path));
  if (!name) return Error{0, one_line(path) + ": the name is not that of a capture segment"};
  if (to.size() == kMostSegments) {
    return Error{0, "more than " + std::to_string(kMostSegments) + " segments"};
  }
  to.push_back({{std::move(path), *std::move(name), static_cast<std::uint64_t>(about.st_size)},
                {about.st_dev, about.st_ino}});
  return {};
}

// The writer's lock, which lies beside the segments.
constexpr std::string_view kLockName = "lock";
// mkfs puts this into the root of an empty filesystem.
constexpr std::string_view kLostAndFound = "lost+found";

// Adds the segments of a directory. Sets `changed` if a file was deleted or renamed meanwhile,
// because a listing is not a snapshot.
Result<> add_directory(const std::string& path, std::vector<Listed>& to, bool& changed) {
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(::opendir(path.c_str()));
  if (directory == nullptr) return errno_error("open " + one_line(path));
  const std::size_t before = to.size();
  bool has_others = false;
  bool has_lock = false;
  while (true) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (!parse_segment_name(name)) {
      has_lock |= name == kLockName;
      has_others |= name != "." && name != ".." && name != kLockName && name != kLostAndFound;
      continue;
    }
    struct stat about {};
    if (::fstatat(::dirfd(directory.get()), name.c_str(), &about, AT_SYMLINK_NOFOLLOW) != 0) {
      changed = true;
      continue;
    }
    if (!S_ISREG(about.st_mode)) continue;
    std::string file_path = path;
    file_path += '/';
    file_path += name;
    const Result<> added = add_file(std::move(file_path), about, to);
    if (!added) return added.error();
  }
  if (errno != 0) return errno_error("read " + one_line(path));
  // No capture is an error: otherwise a mistyped directory would be reported as intact.
  if ((has_others || !has_lock) && to.size() == before)
    return Error{ENOENT, "no capture in " + one_line(path)};
  return {};
}

std::string stem(const std::string& path) { return path.substr(0, path.rfind('.')); }

// Opens the file under the first name that it may have by now. Returns an empty value if it has
// none of them.
template <class Opened, class Open>
Result<Opened> open_as_named_now(SegmentFile& file, Open open) {
  Result<Opened> opened = open(file.path);
  if (opened || opened.error().code != ENOENT) return opened;
  for (const SegmentState state : {SegmentState::sealed, SegmentState::suspect}) {
    SegmentFile renamed = file;
    renamed.name.state = state;
    const std::string name = to_string(renamed.name);
    renamed.path = stem(file.path) + name.substr(name.rfind('.'));
    opened = open(renamed.path);
    if (opened) file = std::move(renamed);
    if (opened || opened.error().code != ENOENT) return opened;
  }
  return Opened();
}

// Whether a segment within the chain is missing. A listing made while files are renamed can lack
// one.
bool has_hole(const Chain& chain) {
  const std::vector<SegmentFile>& segments = chain.segments;
  return std::ranges::adjacent_find(segments, [](const SegmentFile& a, const SegmentFile& b) {
           return b.name.number > a.name.number + 1;
         }) != segments.end();
}

Result<struct stat> look_at(const std::string& path) {
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0) return errno_error("open " + one_line(path));
  return about;
}

Result<> add_path(const std::string& path, std::vector<Listed>& to, bool& changed) {
  const Result<struct stat> about = look_at(path);
  if (about && S_ISDIR(about->st_mode)) return add_directory(path, to, changed);
  const std::optional<SegmentName> name = parse_segment_name(file_name(path));
  if (about || !name) return about ? add_file(path, *about, to) : about.error();
  // The path is the name that the file had before its writer renamed it.
  SegmentFile file{path, *name};
  const Result<struct stat> renamed = open_as_named_now<struct stat>(file, look_at);
  if (!renamed) return renamed.error();
  const bool is_there = renamed->st_mode != 0;
  return is_there ? add_file(file.path, *renamed, to) : about.error();
}

// Whether both are one file, listed before and after it was renamed, or by two paths.
bool same_file(const Listed& a, const Listed& b) {
  return a.identity == b.identity && stem(to_string(a.file.name)) == stem(to_string(b.file.name));
}

Result<std::vector<Chain>> list_once(const std::vector<std::string>& paths, bool& changed) {
  std::vector<Listed> files;
  for (const std::string& path : paths) {
    if (const Result<> added = add_path(path, files, changed); !added) return added.error();
  }
  const auto key = [](const Listed& each) {
    const SegmentName& name = each.file.name;
    return std::tie(name.run, name.worker, name.number, each.identity, name.state, each.file.path);
  };
  std::ranges::sort(files, {}, key);
  std::vector<Chain> chains;
  for (std::size_t i = 0; i < files.size(); ++i) {
    SegmentFile& file = files[i].file;
    // Of a file that is listed twice, the later name counts.
    if (i + 1 < files.size() && same_file(files[i], files[i + 1])) continue;
    if (chains.empty() || chains.back().run != file.name.run ||
        chains.back().worker != file.name.worker) {
      chains.push_back({file.name.run, file.name.worker, {}, false});
    }
    chains.back().segments.push_back(std::move(file));
  }
  for (Chain& chain : chains) {
    // A segment that a crash left has the same name, but nothing locks its directory.
    const SegmentFile& last = chain.segments.back();
    chain.being_written =
        last.name.state == SegmentState::open && Directory::is_locked(folder_of(last.path));
  }
  return chains;
}

}  // namespace

Result<std::vector<Chain>> list_capture(const std::vector<std::string>& paths) {
  constexpr int kMostTries = 3;
  for (int tries = 1;; ++tries) {
    bool changed = false;
    Result<std::vector<Chain>> listed = list_once(paths, changed);
    if (!listed || tries == kMostTries) return listed;
    if (!changed && std::ranges::none_of(*listed, has_hole)) return listed;
  }
}

Result<std::unique_ptr<Source>> open_segment(SegmentFile& file) {
  return open_as_named_now<std::unique_ptr<Source>>(file, FileSource::open);
}

Result<OwnedFd> open_segment_file(SegmentFile& file) {
  return open_as_named_now<OwnedFd>(file, open_regular_file);
}

}  // namespace sluice::capture
