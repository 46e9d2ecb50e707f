//! Every control decision as a pure plan.
