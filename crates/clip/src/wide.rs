//! Loops for the widest vectors of the processor that runs them.

/// Compiles `f` for the widest vectors that this processor has.
#[inline(always)]
pub(crate) fn wide<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
