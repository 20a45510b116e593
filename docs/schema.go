// Package docs carries the documents that the program can print.
package docs

import _ "embed"

// ConfigSchema is the JSON Schema of the configuration file, for editors. It is
// generated from package config: go test ./internal/config -update.
//
//go:embed oncesink.schema.json
var ConfigSchema string
