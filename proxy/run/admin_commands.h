#pragma once

#include <memory>
#include <vector>

#include "proxy/admin/commands.h"
#include "proxy/run/control.h"
#include "proxy/run/reloader.h"
#include "proxy/run/takeovers.h"
#include "proxy/run/worker_thread.h"

namespace sluice {

/// Does on the control thread what an operator asks for.
class DaemonCommands final : public admin::AdminCommands {
 public:
  /// Borrows both.
  DaemonCommands(Control& control, const Workers& workers) : control_(control), workers_(workers) {}

  void order(std::shared_ptr<const Route> route, std::vector<ServerRef> servers, Order order,
             Done done) override;
  void enable_capture(std::shared_ptr<const Route> route, bool enabled, Done done) override;
  void set_lame_duck(bool lame_duck, std::function<void(bool)> done) override;
  void reload(bool dry_run, std::function<void(admin::ReloadResult)> done) override;

  void take_over(std::function<void(admin::TakeoverResult)> done) override;

  /// Takes over from now on. Borrowed; control thread.
  void use(Takeovers& takeovers) { takeovers_ = &takeovers; }
  /// Reloads from now on. Borrowed; control thread.
  void use(Reloader& reloader) { reloader_ = &reloader; }

 private:
  void after_turns(Done done);

  Control& control_;
  const Workers& workers_;
  Takeovers* takeovers_ = nullptr;
  Reloader* reloader_ = nullptr;  ///< null: there is no file
};

}  // namespace sluice
