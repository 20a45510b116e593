package engine

import (
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/target"
)

// spellings are the canonical texts of keys and versions that Go can't read, by
// column and text: 1e3, Infinity, 8 January 2026 and the like. PostgreSQL reads them.
type spellings map[*target.Column]map[string]*spelling

// spelling is nil until it was asked for.
type spelling struct {
	canon   []byte
	refused *pgtext.Refusal
}

func (s *spellings) add(c *target.Column, text string) {
	if *s == nil {
		*s = spellings{}
	}
	if (*s)[c] == nil {
		(*s)[c] = map[string]*spelling{}
	}
	(*s)[c][text] = nil
}

func (s *spellings) merge(from spellings) {
	for c, texts := range from {
		for text := range texts {
			s.add(c, text)
		}
	}
}
