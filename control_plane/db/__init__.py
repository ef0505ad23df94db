"""The database: engines, column types, tenancy, transactions, migrations."""
