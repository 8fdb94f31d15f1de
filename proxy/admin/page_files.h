#pragma once

#include "iolib/page/page.h"
#include "proxy/admin/paths.h"

namespace sluice::admin {

// The live page: files of proxy/admin/page/, which the build embeds. It holds no data of the
// daemon.
extern const page::Asset kPageDocument;
extern const page::Asset kPageStyle;   ///< with that of all pages
extern const page::Asset kPageScript;  ///< likewise

/// Adds the page at `/`, and what it loads at `/assets/`. Clients may keep them, and ask each time
/// whether they are still the same, so that a page and its script are of one version.
void add_page(Paths& paths);

}  // namespace sluice::admin
