//! What one stage offers to others, found by type.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::StageError;

/// A map from a type to the one value of that type that a stage published.
///
/// Stages know nothing of each other; two that must agree (a cache and the
/// reader that it relieves) share a type from a common crate and meet here.
#[derive(Clone, Default)]
pub struct Services(Arc<RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>);

impl Services {
    /// Offers `value`; a later value of the same type takes its place.
    pub fn publish<T: Any + Send + Sync>(&self, value: Arc<T>) {
        self.0.write().insert(TypeId::of::<T>(), value);
    }

    /// The value of type `T`, if a stage of this pipeline published one.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.0.read().get(&TypeId::of::<T>()).cloned().and_then(|any| any.downcast().ok())
    }

    /// The value of type `T`; the first to ask makes it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get_or_make<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        if let Some(found) = self.get() {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        self.publish(made.clone());
        Ok(made)
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(type_name::<Self>())
    }
}
