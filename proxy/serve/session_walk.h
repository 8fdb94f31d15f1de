#pragma once

#include <cstddef>
#include <functional>
#include <list>

#include "iolib/reactor/deferral.h"
#include "iolib/reactor/reactor.h"
#include "proxy/serve/session.h"

namespace sluice {

/// Walks over the sessions of one worker that are there when a walk begins, some in each turn, so
/// that a long list delays no other work. Belongs to the worker's thread.
class SessionWalks {
 public:
  /// How many sessions are visited in a turn.
  static constexpr std::size_t kVisitsPerTurn = 512;
  /// Returns whether the walk continues.
  using Visit = std::function<bool(Session&)>;

  /// Borrows both.
  SessionWalks(Reactor& reactor, SessionList& sessions) : reactor_(reactor), sessions_(sessions) {}
  SessionWalks(const SessionWalks&) = delete;
  SessionWalks& operator=(const SessionWalks&) = delete;

  /// Calls `visit` for each session, and then `done`. The order is that of their arrival, so those
  /// that began here come in the order of their numbers. Sessions that begin or arrive later are
  /// not visited, and neither are those that end or leave before their turn.
  void begin(Visit visit, std::function<void()> done);
  /// The session is about to leave the list.
  void leaves(const Session& session) {
    for (Walk& walk : walks_) walk.leaves(session);
  }

 private:
  class Walk final : public Deferral {
   public:
    Walk(SessionWalks& owner, Visit visit, std::function<void()> done);
    void leaves(const Session& session);

   private:
    void deferred() override;
    SessionWalks& owner_;
    const Visit visit_;
    const std::function<void()> done_;
    SessionList::iterator next_;
    Session* last_;  ///< to visit, at or behind `next_`; null: none is left
  };
  void end(const Walk& walk);

  Reactor& reactor_;
  SessionList& sessions_;
  std::list<Walk> walks_;
};

}  // namespace sluice
