//! Columns of a batch by name and type, and their values with an error that names the column.

use anyhow::{Context as _, bail};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{
    Array, BooleanArray, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray,
};
use arrow_schema::DataType;

/// A batch, to ask for columns of it.
pub(super) struct Columns<'a>(pub(super) &'a RecordBatch);

/// A column of words, with its name.
pub(super) struct Strings<'a>(&'a str, Words<'a>);

enum Words<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
}

/// A column of whole numbers, with its name.
pub(super) struct Integers<'a>(&'a str, Numbers<'a>);

enum Numbers<'a> {
    Short(&'a Int32Array),
    Long(&'a Int64Array),
}

/// A column of yes and no, with its name.
pub(super) struct Booleans<'a>(&'a str, &'a BooleanArray);

impl<'a> Columns<'a> {
    fn find(&self, name: &str) -> anyhow::Result<&'a dyn Array> {
        let column = self.0.column_by_name(name).map(AsRef::as_ref);
        column.with_context(|| format!("column {name} is missing"))
    }

    pub(super) fn strings(&self, name: &'static str) -> anyhow::Result<Strings<'a>> {
        let column = self.find(name)?;
        Ok(Strings(
            name,
            match column.data_type() {
                DataType::Utf8 => Words::Small(column.as_string()),
                DataType::LargeUtf8 => Words::Large(column.as_string()),
                other => return wrong(name, "Utf8", other),
            },
        ))
    }

    pub(super) fn integers(&self, name: &'static str) -> anyhow::Result<Integers<'a>> {
        let column = self.find(name)?;
        Ok(Integers(
            name,
            match column.data_type() {
                DataType::Int32 => Numbers::Short(column.as_primitive::<Int32Type>()),
                DataType::Int64 => Numbers::Long(column.as_primitive::<Int64Type>()),
                other => return wrong(name, "Int32 or Int64", other),
            },
        ))
    }

    pub(super) fn booleans(&self, name: &'static str) -> anyhow::Result<Booleans<'a>> {
        let column = self.find(name)?;
        match column.data_type() {
            DataType::Boolean => Ok(Booleans(name, column.as_boolean())),
            other => wrong(name, "Boolean", other),
        }
    }
}

fn wrong<T>(name: &str, wanted: &str, found: &DataType) -> anyhow::Result<T> {
    bail!("column {name} is {found}; it should be {wanted}")
}

impl<'a> Strings<'a> {
    pub(super) fn get(&self, at: usize) -> Option<&'a str> {
        match &self.1 {
            Words::Small(array) => array.is_valid(at).then(|| array.value(at)),
            Words::Large(array) => array.is_valid(at).then(|| array.value(at)),
        }
    }

    pub(super) fn need(&self, at: usize) -> anyhow::Result<&'a str> {
        self.get(at).with_context(|| format!("column {} is null", self.0))
    }
}

impl Integers<'_> {
    fn get(&self, at: usize) -> Option<i64> {
        match &self.1 {
            Numbers::Short(array) => array.is_valid(at).then(|| i64::from(array.value(at))),
            Numbers::Long(array) => array.is_valid(at).then(|| array.value(at)),
        }
    }

    pub(super) fn optional<T: TryFrom<i64>>(&self, at: usize) -> anyhow::Result<Option<T>> {
        let fit = |number: i64| {
            let fits = T::try_from(number).ok();
            fits.with_context(|| format!("column {}: {number} is out of range", self.0))
        };
        self.get(at).map(fit).transpose()
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, at: usize) -> anyhow::Result<T> {
        self.optional(at)?.with_context(|| format!("column {} is null", self.0))
    }
}

impl Booleans<'_> {
    pub(super) fn get(&self, at: usize) -> Option<bool> {
        self.1.is_valid(at).then(|| self.1.value(at))
    }

    pub(super) fn need(&self, at: usize) -> anyhow::Result<bool> {
        self.get(at).with_context(|| format!("column {} is null", self.0))
    }
}
