//! Statuses: rows by key, outside the revision.

use rusqlite::{OptionalExtension, params};

use super::{Sqlite, StoreError};

impl Sqlite {
    pub(in crate::store) fn status(&self, key: &str) -> Result<Option<String>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("select value from status where key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    pub(in crate::store) fn statuses(
        &self,
        start: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "select key, value from status where substr(key, 1, length(?1)) = ?1 order by key",
        )?;
        let rows = statement.query_map([start], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(in crate::store) fn put_status(
        &self,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), StoreError> {
        self.check_identity()?;
        match value {
            Some(value) => self
                .connection
                .prepare_cached(
                    "insert into status values (?1, ?2) on conflict (key) do update set value = ?2",
                )?
                .execute(params![key, value])?,
            None => self
                .connection
                .prepare_cached("delete from status where key = ?1")?
                .execute([key])?,
        };
        Ok(())
    }
}
