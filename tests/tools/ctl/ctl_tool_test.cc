// The real program, and a stub that answers as the API does, or wrongly.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.h"
#include "tests/system/ctl_program.h"
#include "tests/tools/ctl/stub_server.h"

namespace sluice::test {
namespace {

using Then = StubReply::Then;

const std::string kStatusBody =
    R"({"version":"9.8","pid":77,"uptime_seconds":3723,"state":"ready","engine":"uring",)"
    R"("workers":2,"connections":3,"connections_limit":1000,"log_level":"info"})";

/// Answers everything in the same way.
StubServer::Handler always(StubReply reply) {
  return [reply = std::move(reply)](const std::string&) { return reply; };
}

/// One line on stderr that begins with the program's name.
bool is_one_line(const std::string& error) {
  return error.starts_with("sluice-ctl: ") && error.find('\n') == error.size() - 1;
}

// --- Reading ---

TEST(CtlTest, StatusIsALineForEachFigure) {
  const StubServer stub(always(stub_json(kStatusBody)));
  const Outcome outcome = run_ctl_at(stub.path(), {"status"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(outcome.output,
            "version      9.8\n"
            "pid          77\n"
            "uptime       1h2m3s\n"
            "state        ready\n"
            "engine       uring\n"
            "workers      2\n"
            "connections  3 of at most 1000\n"
            "log level    info\n");
  EXPECT_EQ(stub.lines(), std::vector<std::string>{"GET /v1/status"});
  EXPECT_TRUE(contains(stub.requests()[0], "\r\nHost: localhost\r\n"));
  EXPECT_FALSE(contains(stub.requests()[0], "Authorization"));
}

TEST(CtlTest, StatusTellsAFailedReloadAndPredecessors) {
  const StubServer stub(always(stub_json(
      R"({"state":"ready","last_reload":{"time":1.5,"result":"refused","error":"a.toml:2:1: x"},)"
      R"("predecessors":[{"pid":7,"connections":3},{"pid":6,"connections":1}]})")));
  const std::string output = run_ctl_at(stub.path(), {"status"}).output;
  EXPECT_TRUE(
      output.ends_with("last reload  refused: a.toml:2:1: x\n"
                       "predecessors 7 (3 connections), 6 (1 connections)\n"))
      << output;
}

TEST(CtlTest, JsonIsPrintedAsItIs) {
  const StubServer stub(always(stub_json(kStatusBody)));
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"status", "--json"}, {"--json", "status"}}) {
    const Outcome outcome = run_ctl_at(stub.path(), arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    EXPECT_EQ(outcome.output, kStatusBody + "\n");
  }
}

TEST(CtlTest, AnAnswerInChunksOrUpToTheEndIsWhole) {
  const StubServer chunked(always(stub_chunked(kStatusBody)));
  EXPECT_EQ(run_ctl_at(chunked.path(), {"status", "--json"}).output, kStatusBody + "\n");
  const StubServer ended(always({"HTTP/1.0 200 OK\r\n\r\n" + kStatusBody}));
  EXPECT_EQ(run_ctl_at(ended.path(), {"status", "--json"}).output, kStatusBody + "\n");
}

TEST(CtlTest, EveryListIsATable) {
  const std::map<std::string, std::pair<std::string, std::string>> lists = {
      {"routes",
       {R"({"name":"web","listen":[":80",":81"],"to":["10.0.0.1:80"],"accepted":"12",)"
        R"("connections":3,"closed":{},"rejected":{"denied":"4","source-rate":"5"},)"
        R"("limits":{"route-connections":{"limit":100,"used":37},"queue":{"limit":9,"used":4}},)"
        R"("retries":"1","bytes":{"to_upstream":"1536",)"
        R"("to_client":"9007199254740993"},"capture":"/c","capture_enabled":false,"mirrors":[],)"
        R"("servers":2,"servers_usable":1})",
        "ROUTE  LISTEN  TO           CONNECTIONS  QUEUED  ACCEPTED  REJECTED  RETRIES  TO UPSTREAM "
        " TO "
        "CLIENT  SERVERS  CAPTURE  MIRRORS\n"
        "web    :80 +1  10.0.0.1:80       37/100     4/9        12         9        1      1.5 KiB "
        "  8192 "
        "TiB      1/2  off      -\n"}},
      {"servers",
       {R"({"route":"web","server":"10.0.0.1:80","state":"drain","ordered":"drain","backup":true,)"
        R"("weight":2,"connections":3,"limits":{"server-connections":{"limit":50,"used":5}},)"
        R"("connect_failures":"7","check":"ok","check_age_seconds":0.4})",
        "ROUTE  SERVER       STATE  ORDERED  BACKUP  WEIGHT  CONNECTIONS  FAILED CONNECTS  CHECK  "
        " CHECKED\n"
        "web    10.0.0.1:80  drain  drain    yes          2         5/50                7  ok     "
        "0.4s ago\n"}},
      {"captures",
       {R"({"directory":"/c","routes":["a","b"],"recorded_bytes":"2048","lag_bytes":"0",)"
        R"("dropped_bytes":{"full":"1","limit":"2"},"lost_connections":"0","disk_failures":"4",)"
        R"("segments":"5"})",
        "DIRECTORY  ROUTES  RECORDED      LAG  DROPPED  LOST CONNECTIONS  DISK FAILURES  "
        "SEGMENTS\n"
        "/c         a,b        2 KiB  0 bytes  3 bytes                 0              4  "
        "       5\n"}},
      {"mirrors",
       {R"({"mirror":"h:1","routes":["a"],"streams":1,"streams_total":"20","bytes":"1",)"
        R"("lag_bytes":"3","breaker_open":true,"cut":{"lagged":"2","ended":"3"}})",
        "MIRROR  ROUTES  STREAMS  TOTAL     SENT      LAG  CUT  BREAKER\n"
        "h:1     a             1     20  1 bytes  3 bytes    5  open\n"}},
      {"connections",
       {R"({"id":"1-0-1","client":"10.9.9.9:4242","route":"web","server":"10.0.0.1:80",)"
        R"("bytes":"5","bytes_to_upstream":"2","bytes_to_client":"3","age_seconds":61,)"
        R"("idle_seconds":0.25,"recorded":true,"mirrors":1})",
        "ID     CLIENT         ROUTE  SERVER       TO UPSTREAM  TO CLIENT   AGE  IDLE  RECORDED  "
        "MIRRORS\n"
        "1-0-1  10.9.9.9:4242  web    10.0.0.1:80      2 bytes    3 bytes  1m1s  0.2s  yes       "
        "      1\n"}}};
  for (const auto& [command, list] : lists) {
    const std::string body = "{\"items\":[" + list.first + "],\"next\":null}";
    const StubServer stub(always(stub_json(body)));
    const Outcome outcome = run_ctl_at(stub.path(), {command});
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    EXPECT_EQ(outcome.output, list.second);
    ASSERT_EQ(stub.lines().size(), 1U);
    EXPECT_TRUE(stub.lines()[0].starts_with("GET /v1/" + command)) << stub.lines()[0];
  }
}

/// Three pages of two connections.
StubReply page(const std::string& request) {
  const auto body = [](const char* first, const char* second, const char* next) {
    return stub_json(std::string(R"({"items":[{"id":")") + first + R"("},{"id":")" + second +
                     R"("}],"next":)" + next + "}");
  };
  if (contains(request, "after=c%20%2B2")) return body("5", "6", "null");
  return contains(request, "after=c1") ? body("3", "4", R"("c +2")") : body("1", "2", R"("c1")");
}

TEST(CtlListTest, PagesAreJoined) {
  const StubServer stub(page);
  const Outcome outcome = run_ctl_at(stub.path(), {"connections", "--json", "--route", "a/b ü"});
  EXPECT_EQ(outcome.output,
            R"({"items":[{"id":"1"},{"id":"2"},{"id":"3"},{"id":"4"},{"id":"5"},{"id":"6"}],)"
            "\"next\":null}\n");
  EXPECT_EQ(stub.lines()[0], "GET /v1/connections?sort=id&limit=1000&route=a%2Fb%20%C3%BC");
  EXPECT_EQ(stub.lines()[2], stub.lines()[0] + "&after=c%20%2B2");
}

TEST(CtlListTest, TheLimitEndsIt) {
  const StubServer stub(page);
  const Outcome outcome =
      run_ctl_at(stub.path(), {"connections", "--json", "--limit", "4", "--sort", "bytes"});
  EXPECT_EQ(outcome.output,
            R"({"items":[{"id":"1"},{"id":"2"},{"id":"3"},{"id":"4"}],"next":"c +2"})"
            "\n");
  const std::vector<std::string> expected = {"GET /v1/connections?sort=bytes&limit=4",
                                             "GET /v1/connections?sort=bytes&limit=2&after=c1"};
  EXPECT_EQ(stub.lines(), expected);
}

TEST(CtlListTest, ACursorIsTheOnlyPartOfAQueryWhereThereIsNoOther) {
  const StubServer stub(page);
  EXPECT_EQ(lines_of(run_ctl_at(stub.path(), {"servers"}).output).size(), 7U);
  EXPECT_EQ(stub.lines()[0], "GET /v1/servers");
  EXPECT_EQ(stub.lines()[1], "GET /v1/servers?after=c1");
}

/// What they are sorted by can change from one page to the next.
TEST(CtlListTest, SeveralPagesAreSortedHere) {
  const StubServer stub([](const std::string& request) {
    return stub_json(
        contains(request, "after=c")
            ? R"({"items":[{"id":"3","bytes":"30"},{"id":"4","bytes":"20"}],"next":null})"
            : R"({"items":[{"id":"1","bytes":"4"},{"id":"2","bytes":"20"}],"next":"c"})");
  });
  const Outcome all = run_ctl_at(stub.path(), {"connections", "--json", "--sort", "bytes"});
  EXPECT_EQ(all.output, R"({"items":[{"id":"3","bytes":"30"},{"id":"2","bytes":"20"},)"
                        R"({"id":"4","bytes":"20"},{"id":"1","bytes":"4"}],"next":null})"
                        "\n");
  EXPECT_EQ(stub.lines()[0], "GET /v1/connections?sort=id&limit=1000");
  const Outcome many =
      run_ctl_at(stub.path(), {"connections", "--sort", "bytes", "--limit", "1001"});
  EXPECT_EQ(many.status, 0) << many.error;
  EXPECT_EQ(stub.lines()[2], stub.lines()[0]);
}

TEST(CtlListTest, APageThatComesAgainEndsIt) {
  const StubServer stub(always(stub_json(R"({"items":[{"id":"1"}],"next":"c"})")));
  const Outcome outcome = run_ctl_at(stub.path(), {"connections"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.error, "sluice-ctl: the answer for /v1/connections has the same page again\n");
}

// --- Changing ---

struct Change {
  std::vector<std::string> arguments;
  std::string answer, line, body, output;
};

TEST(CtlChangeTest, EveryCommandSendsItsRequest) {
  const Change changes[] = {
      {{"kill", "1-0/1"}, "", "POST /v1/connections/1-0%2F1/kill", "", "killed 1-0/1\n"},
      {{"drain"},
       "",
       "POST /v1/drain",
       "",
       "/readyz answers 503; connections are still accepted\n"},
      {{"undrain"}, "", "POST /v1/undrain", "", "/readyz answers 200\n"},
      {{"capture", "off", "a b"},
       R"({"capture_enabled":false})",
       "POST /v1/routes/a%20b/capture",
       R"({"enabled":false})",
       "capture of a b: off\n"},
      {{"capture", "on", "web"},
       R"({"capture_enabled":true})",
       "POST /v1/routes/web/capture",
       R"({"enabled":true})",
       "capture of web: on\n"},
      {{"server", "drain", "web", "[::1]:80"},
       R"({"state":"drain","ordered":"drain"})",
       "POST /v1/servers/web/%5B%3A%3A1%5D%3A80",
       R"({"state":"drain"})",
       "[::1]:80 of web: drain\n"},
      {{"log-level", "debug"},
       R"({"level":"debug"})",
       "PUT /v1/log-level",
       R"({"level":"debug"})",
       "debug\n"},
      {{"log-level"}, R"({"level":"info"})", "GET /v1/log-level", "", "info\n"},
      {{"ready"}, "ready\n", "GET /readyz", "", "ready\n"}};
  for (const Change& change : changes) {
    const StubServer stub(always(change.answer.empty()
                                     ? StubReply{"HTTP/1.1 204 No Content\r\n\r\n", Then::hold}
                                     : stub_json(change.answer)));
    const Outcome outcome = run_ctl_at(stub.path(), change.arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.error;
    EXPECT_EQ(outcome.output, change.output);
    ASSERT_EQ(stub.lines(), std::vector<std::string>{change.line});
    const std::string request = stub.requests()[0];
    EXPECT_TRUE(request.ends_with("\r\n\r\n" + change.body)) << request;
    if (change.line.starts_with("GET")) continue;
    EXPECT_TRUE(contains(request, "\r\nX-Sluice: 1\r\nContent-Type: application/json\r\n"));
  }
}

TEST(CtlChangeTest, WithJsonOnlyTheAnswerIsPrinted) {
  const StubServer none(always({"HTTP/1.1 204 No Content\r\n\r\n"}));
  EXPECT_EQ(run_ctl_at(none.path(), {"drain", "--json"}).output, "");
  const StubServer some(always(stub_json(R"({"level":"debug"})")));
  EXPECT_EQ(run_ctl_at(some.path(), {"log-level", "--json"}).output, "{\"level\":\"debug\"}\n");
}

TEST(CtlChangeTest, OneThatCannotBeKilledDoesNotKeepTheOthersAlive) {
  const StubServer stub([](const std::string& request) {
    return contains(request, "/b/kill") ? stub_problem(404, "There is none.")
                                        : StubReply{"HTTP/1.1 204 No Content\r\n\r\n"};
  });
  const Outcome outcome = run_ctl_at(stub.path(), {"kill", "a", "b", "c"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.output, "killed a\nkilled c\n");
  EXPECT_EQ(outcome.error, "sluice-ctl: kill b: There is none.\n");
}

/// A status with as many connections as are left after `looks` requests.
class Draining {
 public:
  explicit Draining(int looks, std::string state = "lame_duck")
      : looks_(looks), state_(std::move(state)) {}
  StubReply operator()(const std::string& request) {
    if (!contains(request, "/v1/status")) return {"HTTP/1.1 204 No Content\r\n\r\n"};
    return stub_json(R"({"state":")" + state_ + R"(","connections":)" +
                     std::to_string(std::max(0, looks_--)) + "}");
  }

 private:
  int looks_;
  std::string state_;
};

TEST(CtlDrainTest, WaitsUntilThereIsNoConnection) {
  const StubServer stub(Draining(2));
  const Outcome outcome = run_ctl_at(stub.path(), {"drain", "--wait"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_TRUE(outcome.output.ends_with("there are no connections\n")) << outcome.output;
  EXPECT_EQ(stub.lines().size(), 4U);
}

TEST(CtlDrainTest, ATimeThatIsOverIsReported) {
  const StubServer stub(Draining(999'999));
  const Outcome outcome = run_ctl_at(stub.path(), {"drain", "--wait=10ms"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(contains(outcome.error, "sluice-ctl: connections left after 10ms: 9"))
      << outcome.error;
}

TEST(CtlDrainTest, ADrainThatIsUndoneIsReported) {
  const StubServer stub(Draining(1'000'000, "ready"));
  const Outcome outcome = run_ctl_at(stub.path(), {"drain", "--wait"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.error, "sluice-ctl: the drain was undone, the state is ready\n");
}

// --- Reloads and takeovers ---

const std::string kOneChange =
    R"("changes":[{"op":"change","route":"web","key":"to","old":"10.0.0.1:80",)"
    R"("new":"10.0.0.2:80"},{"op":"add","route":"new","key":null,"old":null,"new":null}])";
const std::string kChangesTable =
    "CHANGE  ROUTE  KEY  OLD          NEW\n"
    "change  web    to   10.0.0.1:80  10.0.0.2:80\n"
    "add     new    -    -            -\n";

TEST(CtlReloadTest, WhatChangesIsATable) {
  const std::string body = R"({"result":"applied",)" + kOneChange + R"(,"errors":[]})";
  const StubServer stub(always(stub_json(body)));
  EXPECT_EQ(run_ctl_at(stub.path(), {"reload"}).output, kChangesTable + "applied\n");
  EXPECT_EQ(run_ctl_at(stub.path(), {"reload", "--dry-run"}).output,
            kChangesTable + "would be applied\n");
  EXPECT_EQ(run_ctl_at(stub.path(), {"reload", "--json"}).output, body + "\n");
  EXPECT_EQ(stub.lines(), (std::vector<std::string>{"POST /v1/reload", "POST /v1/reload?dry-run=1",
                                                    "POST /v1/reload"}));
  EXPECT_TRUE(
      contains(stub.requests()[0], "\r\nX-Sluice: 1\r\nContent-Type: application/json\r\n"));
  const StubServer same(always(stub_json(R"({"result":"unchanged","changes":[],"errors":[]})")));
  const Outcome outcome = run_ctl_at(same.path(), {"reload"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.output, "unchanged\n");
}

TEST(CtlReloadTest, EachErrorOfABadFileIsALine) {
  const std::string body =
      R"({"result":"refused","changes":[],"errors":["a.toml:2:1: one","a.toml:3:1: t\u001bwo"]})";
  const StubServer stub(always(stub_json(body, "422 Unprocessable Content")));
  const Outcome outcome = run_ctl_at(stub.path(), {"reload"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.output, "");
  EXPECT_EQ(outcome.error,
            "sluice-ctl: a.toml:2:1: one\nsluice-ctl: a.toml:3:1: t\\x1bwo\n"
            "sluice-ctl: refused: nothing has changed\n");
  const Outcome json = run_ctl_at(stub.path(), {"reload", "--json"});
  EXPECT_EQ(json.status, 1);
  EXPECT_EQ(json.output, "{" + body.substr(1) + "\n");
}

TEST(CtlReloadTest, WhereATakeoverIsNeededItIsNamed) {
  const std::string body = R"({"result":"needs-takeover",)" + kOneChange + R"(,"errors":[]})";
  const StubServer stub(always(stub_json(body, "409 Conflict")));
  const Outcome outcome = run_ctl_at(stub.path(), {"reload", "--dry-run"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.output, kChangesTable);
  EXPECT_TRUE(is_one_line(outcome.error)) << outcome.error;
  EXPECT_TRUE(contains(outcome.error, "use sluice-ctl takeover")) << outcome.error;
}

TEST(CtlReloadTest, ARefusalWithoutAResultIsAFailure) {
  for (const char* command : {"reload", "takeover"}) {
    const StubServer starting(always(stub_problem(409, "The daemon is starting.")));
    const Outcome refused = run_ctl_at(starting.path(), {command});
    EXPECT_EQ(refused.status, 1);
    EXPECT_EQ(refused.error, "sluice-ctl: The daemon is starting.\n");
    const StubServer forbidden(always(stub_problem(403, "No.")));
    EXPECT_EQ(run_ctl_at(forbidden.path(), {command}).status, 4);
    const StubServer strange(always(stub_json("{}")));
    EXPECT_TRUE(contains(run_ctl_at(strange.path(), {command}).error, "has no result"));
  }
}

TEST(CtlTakeoverTest, TheNewProcessIsNamed) {
  const StubServer stub(always(stub_json(R"({"result":"taken","pid":4242})")));
  const Outcome outcome = run_ctl_at(stub.path(), {"takeover"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(outcome.output, "process 4242 has taken over\n");
  EXPECT_EQ(run_ctl_at(stub.path(), {"takeover", "--json"}).output,
            "{\"result\":\"taken\",\"pid\":4242}\n");
  EXPECT_EQ(stub.lines()[0], "POST /v1/takeover");
}

// --- Who is asked ---

TEST(CtlTargetTest, ATokenIsSentOverTcp) {
  const TempDir folder;
  const std::string token = folder.write("token", "secret-token-of-more-than-32-characters\n");
  const StubServer stub(always(stub_json(kStatusBody)));
  const std::string address = loopback_address(stub.port());
  EXPECT_EQ(run_ctl({"status", "--socket", address, "--token-file", token}).status, 0);
  const std::string request = stub.requests().at(0);
  EXPECT_TRUE(contains(request,
                       "\r\nAuthorization: Bearer "
                       "secret-token-of-more-than-32-characters\r\n"));
  EXPECT_TRUE(contains(request, "\r\nHost: " + address + "\r\n"));
}

TEST(CtlTargetTest, WrongTokenFilesAreWrongUsage) {
  const TempDir folder;
  for (const std::string& file : {folder.file("missing"), folder.write("empty", "\n"),
                                  folder.write("two", "a\nb\n"), folder.write("evil", "a\r\nX: y"),
                                  folder.write("long", std::string(2000, 'x')), folder.path()}) {
    const Outcome outcome = run_ctl({"status", "--token-file", file});
    EXPECT_EQ(outcome.status, 2) << file;
    EXPECT_TRUE(is_one_line(outcome.error) && contains(outcome.error, file)) << outcome.error;
  }
}

TEST(CtlTargetTest, NobodyThereIsOneLineThatNamesTheSocket) {
  const TempDir folder;
  listen_unix(folder.file("left.sock")).reset();
  const Listener refusing = bind_tcp();
  for (const std::string& socket :
       {folder.file("missing.sock"), folder.file("left.sock"),
        "unix:" + folder.file("missing.sock"), loopback_address(refusing.port)}) {
    const Outcome outcome = run_ctl_at(socket, {"status"});
    EXPECT_EQ(outcome.status, 3);
    EXPECT_EQ(outcome.output, "");
    EXPECT_TRUE(is_one_line(outcome.error)) << outcome.error;
    EXPECT_TRUE(contains(outcome.error, socket) && contains(outcome.error, "--socket"))
        << outcome.error;
  }
}

TEST(CtlTargetTest, TheDefaultIsTheSocketOfTheSystemdUnit) {
  const Outcome outcome = run_ctl({"--help", "all"});
  EXPECT_TRUE(contains(outcome.output,
                       "Default:\n                            "
                       "/run/sluice/admin.sock."))
      << outcome.output;
}

TEST(CtlTargetTest, ASocketOfOthersIsNotAllowed) {
  const StubServer stub(always(stub_json(kStatusBody)));
  ASSERT_EQ(::chmod(stub.path().c_str(), 0), 0);
  ProcessOptions options;
  if (::geteuid() == 0) options.user = "nobody";
  // The folder is its owner's too.
  const Outcome outcome = run_ctl({"status", "--socket", stub.path()}, options);
  EXPECT_EQ(outcome.status, 4) << outcome.error;
  EXPECT_TRUE(is_one_line(outcome.error) && contains(outcome.error, "not allowed"))
      << outcome.error;
}

// --- Refusals, and answers that are none ---

struct Bad {
  const char* name;
  StubReply reply;
  int status;
  const char* says;
};

TEST(CtlAnswerTest, WhatIsWrongIsNamed) {
  const std::string escape = R"(a\u001b[2Jb\nc)";
  const Bad all[] = {
      {"refused", stub_problem(409, "The daemon starts."), 1, ": The daemon starts.\n"},
      {"hostile detail", stub_problem(400, escape), 1, ": a\\x1b[2Jb\\x0ac\n"},
      {"long detail", stub_problem(500, std::string(100'000, 'x')), 1, "xxx...\n"},
      {"no token", stub_problem(401, "A token is needed."), 4, "A token is needed. --token-file"},
      {"forbidden", stub_problem(403, "No."), 4, "not allowed: No.\n"},
      {"no problem", {"HTTP/1.1 500 Oops\r\n\r\n<html>"}, 1, ": HTTP status 500\n"},
      {"a redirection", {"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"}, 1, ": HTTP status 302\n"},
      {"no JSON", stub_json("{\"state\":"), 1, "is no JSON"},
      {"no text", stub_json(std::string("\xff\x00\x1b", 3)), 1, "is no JSON"},
      {"an array", stub_json("[1]"), 1, "is no JSON object"},
      {"deep", stub_json(std::string(100'000, '[')), 1, "is no JSON"},
      {"no HTTP", {"SSH-2.0-OpenSSH_9.2p1\r\n"}, 1, "is no HTTP"},
      {"half a header", {"HTTP/1.1 200 O"}, 1, "is no HTTP"},
      {"half a body", {"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{\"a"}, 1, "is no HTTP"},
      {"a bad length", {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"}, 1, "is no HTTP"},
      {"a bad chunk",
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
       1,
       "is no HTTP"},
      {"a huge length",
       {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}"},
       1,
       "is over 32MiB"},
      {"a huge header", {"HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x')}, 1, "is no HTTP"},
      {"a huge body", {"HTTP/1.1 200 OK\r\n\r\n" + std::string(33 << 20, ' ')}, 1, "is over 32MiB"},
      {"nothing", {""}, 3, "without an answer"},
  };
  for (const Bad& bad : all) {
    const StubServer stub(always(bad.reply));
    const Outcome outcome = run_ctl_at(stub.path(), {"status"});
    EXPECT_EQ(outcome.status, bad.status) << bad.name << ": " << outcome.error;
    EXPECT_EQ(outcome.output, "") << bad.name;
    EXPECT_TRUE(is_one_line(outcome.error)) << bad.name << ": " << outcome.error;
    EXPECT_TRUE(contains(outcome.error, bad.says)) << bad.name << ": " << outcome.error;
    EXPECT_LT(outcome.error.size(), 1000U) << bad.name;
  }
}

TEST(CtlAnswerTest, AnAnswerThatDoesNotEndIsGivenUp) {
  const std::string begun = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
  const StubServer silent(always({"", Then::hold}));
  const StubServer half(always({begun, Then::hold}));
  const StubServer dripping(always({begun, Then::drip}));
  std::vector<std::unique_ptr<Process>> processes;
  for (const StubServer* stub : {&silent, &half, &dripping}) {
    processes.push_back(std::make_unique<Process>(
        std::vector<std::string>{ctl_program(), "status", "--socket", stub->path()}));
  }
  for (const auto& process : processes) {
    EXPECT_EQ(process->wait(kLate), 3);
    EXPECT_TRUE(contains(process->standard_error(), "no answer from unix:"))
        << process->standard_error();
    EXPECT_TRUE(contains(process->standard_error(), " within 10s\n"));
  }
}

/// Members that are missing, of other types, or meant for the terminal.
TEST(CtlAnswerTest, HostileValuesStayInTheirCells) {
  const std::string items =
      R"([{"id":"\u001b[2J\u009b1m\nx","client":5,"route":null,"server":{"a":[]},)"
      R"("bytes_to_upstream":"abc","bytes_to_client":-5,"age_seconds":1e300,"idle_seconds":"",)"
      R"("recorded":"maybe","mirrors":[1,2]},7,null])";
  const StubServer stub(always(stub_json("{\"items\":" + items + ",\"next\":null}")));
  const Outcome outcome = run_ctl_at(stub.path(), {"connections"});
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  const std::vector<std::string> lines = lines_of(outcome.output);
  ASSERT_EQ(lines.size(), 4U) << outcome.output;
  EXPECT_TRUE(lines[1].starts_with("\\x1b[2J\\xc2\\x9b1m\\nx  5 ")) << lines[1];
  for (const char c : outcome.output) EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
}

TEST(CtlAnswerTest, AStdoutThatIsFullIsAFailure) {
  const StubServer stub(always(stub_json(kStatusBody)));
  Process shell(
      {"sh", "-c", "exec \"$0\" status --socket \"$1\" > /dev/full", ctl_program(), stub.path()});
  EXPECT_EQ(shell.wait(kLate), 1);
  EXPECT_EQ(shell.standard_error(), "sluice-ctl: stdout cannot be written\n");
}

}  // namespace
}  // namespace sluice::test
