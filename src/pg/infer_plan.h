// Puts ImageInfer nodes into plans: src/pg/README.md says where, and why it is done to finished plans.
#pragma once

namespace imagecalc {

// Once a process, as the library is loaded.
void install_infer_planner();

}  // namespace imagecalc
