package decode

import (
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/tables"
)

// Spellings are the canonical texts of keys and versions that Go can't read, by
// column and text: 1e3, Infinity, 8 January 2026 and the like. PostgreSQL reads them.
type Spellings map[*tables.Column]map[string]*Spelling

// Spelling is nil until it was asked for.
type Spelling struct {
	Canon   []byte
	Refused *pgtext.Refusal
}

func (s *Spellings) add(c *tables.Column, text string) {
	if *s == nil {
		*s = Spellings{}
	}
	if (*s)[c] == nil {
		(*s)[c] = map[string]*Spelling{}
	}
	(*s)[c][text] = nil
}

func (s *Spellings) merge(from Spellings) {
	for c, texts := range from {
		for text := range texts {
			s.add(c, text)
		}
	}
}
