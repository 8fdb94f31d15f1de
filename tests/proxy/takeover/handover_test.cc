#include "proxy/takeover/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <utility>

#include "iolib/base/file_identity.h"

namespace sluice::takeover {
namespace {

OwnedFd some_file() { return OwnedFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

Handover some_handover() {
  Handover handover;
  handover.pid = 42;
  handover.process = some_file();
  for (int i = 0; i < 3; ++i) handover.sockets.push_back(some_file());
  handover.paths = {{"/run/a.sock", FileIdentity{7, 11}}};
  handover.ancestors.ended = {{"route", {{"accepted"}, {{"a", {3}}}}}};
  Living& living = handover.ancestors.living.emplace_back();
  living.pid = 41;
  living.connections = 5;
  living.held = {{"route", {{"connections"}, {{"a", {4}}}}}};
  living.runs = {"run-1"};
  living.link = some_file();
  Living& silent = handover.ancestors.living.emplace_back();
  silent.pid = 40;
  silent.process = some_file();
  handover.runtime = {{"log_level", "debug"}};
  return handover;
}

TEST(TakeoverHandover, IsReadAsItWasWritten) {
  HandoverMessage message = to_message(some_handover());
  EXPECT_EQ(message.descriptors.size(), 6U);
  Result<Handover> read = from_message(std::move(message));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->pid, 42);
  EXPECT_TRUE(read->process);
  EXPECT_EQ(read->sockets.size(), 3U);
  ASSERT_EQ(read->paths.size(), 1U);
  EXPECT_EQ(read->paths[0].path, "/run/a.sock");
  EXPECT_EQ(read->paths[0].socket, (FileIdentity{7, 11}));
  ASSERT_EQ(read->ancestors.living.size(), 2U);
  EXPECT_EQ(read->ancestors.living[0].pid, 41);
  EXPECT_EQ(read->ancestors.living[0].held.at("route").values.at("a").front(), 4U);
  EXPECT_EQ(read->ancestors.living[0].runs, std::vector<std::string>{"run-1"});
  EXPECT_TRUE(read->ancestors.living[0].link);
  EXPECT_FALSE(read->ancestors.living[0].process);
  EXPECT_FALSE(read->ancestors.living[1].link);
  EXPECT_TRUE(read->ancestors.living[1].process);
  EXPECT_EQ(read->ancestors.ended.at("route").values.at("a").front(), 3U);
  EXPECT_EQ(read->runtime.at("log_level"), "debug");
}

TEST(TakeoverHandover, AWrongNumberOfDescriptorsIsRefused) {
  HandoverMessage fewer = to_message(some_handover());
  fewer.descriptors.pop_back();
  EXPECT_TRUE(from_message(std::move(fewer)).has_error());
  HandoverMessage more = to_message(some_handover());
  more.descriptors.push_back(some_file());
  EXPECT_TRUE(from_message(std::move(more)).has_error());
  HandoverMessage liar = to_message(some_handover());
  liar.body["sockets"] = ~std::uint64_t{0};
  EXPECT_TRUE(from_message(std::move(liar)).has_error());
}

}  // namespace
}  // namespace sluice::takeover
