//! The lives of recipes and batches (contract 4.1–4.4, 6.2). Both only ever move forward.

/// Who makes transitions of jobs, recipes and batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransitionActor {
    /// The evaluation of a recipe, its own or the one that it is in.
    Recipe,
    /// A worker's report.
    Worker,
    /// The reaper, about a worker that is gone.
    Reaper,
    /// A request: for jobs, by id or by filter; for a batch that follows another.
    Caller,
    /// The creation of recipes, which supersedes others and cancels what is unfinished in them.
    Creation,
}

/// Where a recipe stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct RecipeState {
    /// Whether it has its input. Top-level recipes are created with it.
    pub has_input: bool,
    /// Whether it is completed; never reverts (6.2 rule 4).
    pub is_completed: bool,
    /// Whether a newer recipe took its place.
    pub is_superseded: bool,
}

/// What can happen to a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecipeEvent {
    /// The parent recipe gives a sub-recipe its input.
    GiveInput,
    /// The evaluation finds it completed.
    Complete,
    /// It is reprocessed: by a batch, by a caller, or with the recipe that it is in.
    Supersede,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct RecipeBatchState {
    /// Whether all of its top-level recipes exist (4.2).
    pub is_creation_done: bool,
    /// Whether it has a successor in its chain.
    pub is_superseded: bool,
}

/// What can happen to a batch of recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecipeBatchEvent {
    /// The last page of recipes is committed. Also for a batch without recipes.
    FinishCreation,
    /// The next batch of the chain is created. Only a batch that has all of its recipes has successors (2.7).
    Supersede,
}

impl RecipeEvent {
    /// Who may make it.
    pub const fn actors(self) -> &'static [TransitionActor] {
        match self {
            Self::GiveInput | Self::Complete => &[TransitionActor::Recipe],
            Self::Supersede => &[TransitionActor::Creation],
        }
    }
}

impl RecipeBatchEvent {
    /// Who may make it.
    pub const fn actors(self) -> &'static [TransitionActor] {
        match self {
            Self::FinishCreation => &[TransitionActor::Creation],
            Self::Supersede => &[TransitionActor::Caller],
        }
    }
}

/// What a recipe becomes, or `None` when nothing changes. A superseded recipe may still complete: the jobs that it
/// shares go on. Superseding asks for the recipe to be the current one of its family, so that it happens once.
pub const fn recipe_step(state: RecipeState, event: RecipeEvent) -> Option<RecipeState> {
    match event {
        RecipeEvent::GiveInput if !state.has_input => Some(RecipeState { has_input: true, ..state }),
        RecipeEvent::Complete if state.has_input && !state.is_completed => {
            Some(RecipeState { is_completed: true, ..state })
        }
        RecipeEvent::Supersede if !state.is_superseded => Some(RecipeState { is_superseded: true, ..state }),
        _ => None,
    }
}

/// What a batch becomes, or `None` when nothing changes.
pub const fn recipe_batch_step(state: RecipeBatchState, event: RecipeBatchEvent) -> Option<RecipeBatchState> {
    match event {
        RecipeBatchEvent::FinishCreation if !state.is_creation_done => {
            Some(RecipeBatchState { is_creation_done: true, ..state })
        }
        RecipeBatchEvent::Supersede if state.is_creation_done && !state.is_superseded => {
            Some(RecipeBatchState { is_superseded: true, ..state })
        }
        _ => None,
    }
}
