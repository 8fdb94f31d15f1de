#include "proxy/reload/prepare.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "iolib/disk/volume.h"
#include "tests/support/temp_dir.h"

namespace sluice {
namespace {

TEST(PrepareReloadTest, OutlivesTheDaemonThatWantedIt) {
  const test::TempDir folder;
  const std::string capture = folder.file("capture");
  const std::string before =
      "[[route]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\nto = \"discard:\"\n";
  const std::string file = folder.write("sluice.toml", before);
  const std::vector<std::string> arguments{"sluice", "--config", file};
  const char* argv[] = {"sluice", "--config", file.c_str()};
  ReloadInput input{
      .arguments = arguments,
      .current = std::make_shared<const Config>(parse_command_line(3, argv).config),
      .open = {},
      .bound = {},
      .captures = std::make_shared<CaptureDirectories>(),
      .run = "run1",
  };
  folder.write("sluice.toml", before + "capture = \"" + capture + "\"\n");
  PreparedReload prepared = prepare_reload(input);
  ASSERT_EQ(prepared.result.outcome, admin::ReloadResult::Outcome::applied);
  const std::weak_ptr<CaptureDirectories> captures = input.captures;
  EXPECT_TRUE(Directory::is_locked(capture));
  input.captures.reset();
  EXPECT_TRUE(captures.expired());
  prepared = {};
  EXPECT_FALSE(Directory::is_locked(capture));
}

}  // namespace
}  // namespace sluice
