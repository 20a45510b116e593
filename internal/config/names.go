package config

import (
	"cmp"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
)

// qualified is a table's name with its schema, as far as the file tells, in one spelling: "orders", orders and
// public.orders are one table. Without a schema it is in the first one of the search path.
func (c *Config) qualified(name string) string {
	schema, table, err := pgname.Qualify(name, cmp.Or(c.Postgres.SearchPath, "public"))
	if err != nil {
		return name // tableName tells
	}
	return pgx.Identifier{schema, table}.Sanitize()
}

// TableName returns the name that the file gives to a table which may be spelled otherwise here, as in public."orders"
// for orders. It returns name if the file has no such table.
func (c *Config) TableName(name string) string {
	for i := range c.Tables {
		if c.qualified(c.Tables[i].Name) == c.qualified(name) {
			return c.Tables[i].Name
		}
	}
	return name
}

// RollupName does for rollups what TableName does for tables.
func (c *Config) RollupName(name string) string {
	for i := range c.Rollups {
		if c.qualified(c.Rollups[i].Name) == c.qualified(name) {
			return c.Rollups[i].Name
		}
	}
	return name
}

// TableNames are the tables that the file names, in its order; those that patterns make are not among them.
func (c *Config) TableNames() (out []string) {
	for i := range c.Tables {
		if !c.Tables[i].isTemplate() {
			out = append(out, c.Tables[i].Name)
		}
	}
	return out
}

// TopicNames are the topics that the file names, sorted; patterns are not among them.
func (c *Config) TopicNames() []string { return slices.DeleteFunc(c.topics(), isPattern) }
