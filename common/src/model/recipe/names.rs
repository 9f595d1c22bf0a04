//! The names of errors and warnings that the contract fixes, an enum for each family.

/// Declares a family: its variants with their names on the wire, and what else can be told under a name of its own.
macro_rules! names {
    (
        $(#[$meta:meta])*
        pub enum $family:ident {
            $( $(#[$doc:meta])* $variant:ident = $text:literal, )+
        }
        $( with { $( $(#[$wrapped_doc:meta])* $wrapped:ident($inner:ty), )+ } )?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $family {
            $( $(#[$doc])* $variant, )+
            $($( $(#[$wrapped_doc])* $wrapped($inner), )+)?
        }

        impl $family {
            /// Every name of the family.
            pub fn all() -> Vec<Self> {
                #[allow(unused_mut, reason = "only families that hold another one grow")]
                let mut all = vec![$( Self::$variant ),+];
                $($( all.extend(<$inner>::all().into_iter().map(Self::$wrapped)); )+)?
                all
            }

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )+
                    $($( Self::$wrapped(inner) => inner.as_str(), )+)?
                }
            }
        }

        impl From<$family> for &'static str {
            fn from(name: $family) -> Self {
                name.as_str()
            }
        }

        impl std::fmt::Display for $family {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $family {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

names! {
    /// Why a batch cannot be created (contract 2.7).
    pub enum BatchError {
        /// The definition violates its schema (3.1).
        InvalidBatchDefinition = "INVALID_BATCH_DEFINITION",
        /// The configuration violates its schema (3.2).
        InvalidBatchConfiguration = "INVALID_BATCH_CONFIGURATION",
        /// The recipe type was deprecated.
        InactiveRecipeType = "INACTIVE_RECIPE_TYPE",
        /// No current batch has that root.
        PrevBatchNotFound = "PREV_BATCH_NOT_FOUND",
        /// No dataset has that id.
        DatasetNotFound = "DATASET_NOT_FOUND",
        /// The previous batch runs another recipe type.
        MismatchedRecipeType = "MISMATCHED_RECIPE_TYPE",
        /// The input map names what does not exist, or an input twice.
        InvalidInputMap = "INVALID_INPUT_MAP",
        /// The previous batch does not have all of its recipes yet.
        PrevBatchStillCreating = "PREV_BATCH_STILL_CREATING",
        /// The dataset's parameters, mapped, do not satisfy the recipe's inputs (4.7).
        MismatchedParams = "MISMATCHED_PARAMS",
        /// The old inputs do not fit the new revision (4.10).
        PrevBatchNoReprocess = "PREV_BATCH_NO_REPROCESS",
        /// There would be no recipe.
        NoRecipes = "NO_RECIPES",
    }
}

names! {
    /// What is worth knowing about a batch that can be created (contract 2.7).
    pub enum BatchWarning {
        /// A file parameter may deliver media types that the input does not list.
        MismatchedMediaTypes = "MISMATCHED_MEDIA_TYPES",
        /// A forced name is no node of the revision.
        UnknownForcedNode = "UNKNOWN_FORCED_NODE",
        /// A sub-recipe is forced without saying what of it: its inner nodes are copied.
        ForcedSubRecipeEmpty = "FORCED_SUB_RECIPE_EMPTY",
        /// Every node would be copied.
        NothingToReprocess = "NOTHING_TO_REPROCESS",
    }
}

names! {
    /// What is wrong with forced nodes where names are checked strictly: reprocessing one recipe (contract 5.5).
    pub enum ForcedNodesError {
        /// The document violates its schema (3.3).
        InvalidForcedNodes = "INVALID_FORCED_NODES",
        /// A forced name is no node of the revision.
        UnknownForcedNode = "UNKNOWN_FORCED_NODE",
        /// `sub_recipes` names a node that is no recipe.
        NotASubRecipe = "NOT_A_SUB_RECIPE",
    }
}

names! {
    /// What is wrong with a recipe definition (contract 5.2).
    pub enum DefinitionError {
        /// The document violates its schema.
        InvalidDefinition = "INVALID_DEFINITION",
        /// The document is no JSON object, or an object in it has a key twice.
        InvalidDefinitionJson = "INVALID_DEFINITION_JSON",
        /// The recipe's inputs are not well named, or a name is used twice.
        InputInterface = "INPUT_INTERFACE",
        /// A dependency or a connection to a node that does not exist.
        UnknownNode = "UNKNOWN_NODE",
        /// A connection to a recipe input that does not exist.
        UnknownInput = "UNKNOWN_INPUT",
        /// A node is defined twice, or a node names a dependency twice.
        DuplicateNode = "DUPLICATE_NODE",
        /// Nodes depend on each other in a circle.
        CircularDependency = "CIRCULAR_DEPENDENCY",
        /// A connection to an output of a recipe node, which has none (6.4).
        ConnectionInvalidNode = "CONNECTION_INVALID_NODE",
        /// What is connected does not fit the node's inputs.
        NodeInterface = "NODE_INTERFACE",
        /// The job type, its version or its revision does not exist.
        JobTypeDoesNotExist = "JOB_TYPE_DOES_NOT_EXIST",
        /// The recipe type or its revision does not exist.
        RecipeTypeDoesNotExist = "RECIPE_TYPE_DOES_NOT_EXIST",
        /// The recipe type contains itself.
        RecursiveSubrecipes = "RECURSIVE_SUBRECIPES",
    }
    with {
        /// The data filter of a condition.
        Filter(FilterError),
    }
}

names! {
    /// What is worth knowing about a valid recipe definition (contract 5.2).
    pub enum DefinitionWarning {
        /// A file output may deliver media types that the input does not list.
        MismatchedMediaTypes = "MISMATCHED_MEDIA_TYPES",
        /// Existing recipes cannot be reprocessed after this edit.
        ReprocessWarning = "REPROCESS_WARNING",
        /// Recipe types are deprecated, since they contain what is deprecated.
        DeprecatedRecipes = "DEPRECATED_RECIPES",
        /// A filter looks at a value that the condition does not have.
        UnmatchedFilter = "UNMATCHED_FILTER",
        /// A condition has parameters that no filter looks at, or a connection goes to no input of its node.
        UnmatchedParameters = "UNMATCHED_PARAMETERS",
        /// `acceptance` is false towards a node that is no condition, where it has no meaning (6.2).
        AcceptanceIgnored = "ACCEPTANCE_IGNORED",
        /// A node needs both outcomes of one condition: it never runs.
        UnreachableNode = "UNREACHABLE_NODE",
    }
}

names! {
    /// What is wrong with a data filter (contract 6.3).
    pub enum FilterError {
        /// The document violates its schema.
        InvalidDataFilter = "INVALID_DATA_FILTER",
        /// A filter has no name.
        MissingName = "MISSING_NAME",
        /// A filter has no type.
        MissingType = "MISSING_TYPE",
        /// A filter has no condition.
        MissingCondition = "MISSING_CONDITION",
        /// A filter has no values.
        MissingValues = "MISSING_VALUES",
        /// The condition is unknown, or not one for the filter's type.
        InvalidCondition = "INVALID_CONDITION",
        /// `fields` are not key paths, as many as values, of an object.
        InvalidFields = "INVALID_FIELDS",
        /// The filter's type is unknown, or one that looks into files.
        InvalidType = "INVALID_TYPE",
        /// A value is no number where the filter's type asks for one.
        ValueError = "VALUE_ERROR",
        /// The filter's type is not that of the parameter.
        MismatchedType = "MISMATCHED_TYPE",
    }
}

names! {
    /// What is wrong with a dataset's definition (contract 5.3).
    pub enum DatasetError {
        /// `version` is not one that is known.
        InvalidVersion = "INVALID_VERSION",
        /// The document violates its schema.
        InvalidDatasetDefinition = "INVALID_DATASET_DEFINITION",
        /// A name is used in the parameters and in the global parameters.
        NameCollision = "NAME_COLLISION_ERROR",
        /// A name is used twice within the parameters, or within the global parameters.
        DuplicateParameter = "DUPLICATE_PARAMETER",
        /// Required global parameters without global data.
        MissingGlobalData = "MISSING_GLOBAL_DATA",
        /// The global data does not fit the global parameters; the text names the [`DataError`].
        InvalidGlobalData = "INVALID_GLOBAL_DATA",
    }
}

names! {
    /// What is wrong with a data document (contract 5.3).
    pub enum DataError {
        /// The document violates its schema.
        InvalidData = "INVALID_DATA",
        /// A required parameter has no value.
        ParamRequired = "PARAM_REQUIRED",
        /// Files for a JSON parameter, or the other way round.
        MismatchedParamType = "MISMATCHED_PARAM_TYPE",
        /// The value is not of the parameter's JSON type.
        InvalidJsonType = "INVALID_JSON_TYPE",
        /// An empty list of files.
        NoFiles = "NO_FILES",
        /// Several files for a parameter that takes one.
        MultipleFiles = "MULTIPLE_FILES",
    }
}

names! {
    /// What is wrong with a job type's manifest or configuration (contract 5.1).
    pub enum ManifestError {
        /// The document violates its schema.
        JsonValidation = "JSON_VALIDATION_ERROR",
        /// Two parameters have the same name, apart from case.
        NameCollision = "NAME_COLLISION_ERROR",
        /// Two errors have the same name.
        DuplicateErrorNames = "DUPLICATE_ERROR_NAMES",
    }
}

names! {
    /// Why recipes of one revision cannot be reprocessed with another (contract 4.10).
    pub enum DiffReason {
        /// The new inputs do not accept the old ones.
        InputChange = "INPUT_CHANGE",
    }
}

names! {
    /// What changed about a node (contract 4.10), in the order in which it is listed.
    pub enum NodeChange {
        /// A job became a recipe, say.
        NodeType = "NODE_TYPE_CHANGE",
        /// Another job type.
        JobType = "JOB_TYPE_CHANGE",
        /// Another version of the job type.
        JobTypeVersion = "JOB_TYPE_VERSION_CHANGE",
        /// Another revision of the job type.
        JobTypeRevision = "JOB_TYPE_REVISION_CHANGE",
        /// Another recipe type.
        RecipeType = "RECIPE_TYPE_CHANGE",
        /// Another revision of the recipe type.
        RecipeTypeRevision = "RECIPE_TYPE_REVISION_CHANGE",
        /// Other filters, or another `all`.
        Filter = "FILTER_CHANGE",
        /// A dependency that was not there.
        ParentNew = "PARENT_NEW",
        /// A kept dependency changed itself.
        ParentChanged = "PARENT_CHANGED",
        /// A dependency that is no more.
        ParentRemoved = "PARENT_REMOVED",
        /// The other outcome of a condition is wanted.
        ParentAcceptance = "PARENT_ACCEPTANCE_CHANGED",
        /// An input that was not connected.
        InputNew = "INPUT_NEW",
        /// An input that is connected to something else.
        InputChange = "INPUT_CHANGE",
        /// An input that is connected no more.
        InputRemoved = "INPUT_REMOVED",
    }
}
