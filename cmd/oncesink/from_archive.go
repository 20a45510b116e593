package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/kafka"
)

// addFromArchive adds the flag by which a command reads from an archive what the logs no longer have.
func (f *flags) addFromArchive(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.fromArchive, "from-archive", "", "read what the logs no longer have from the archive at `LOCATION` (default the configuration's, if it has one)")
	cmd.Flags().BoolVar(&f.archiveOnly, "archive-only", false, "read the archive alone, and no Kafka: for topics that are gone, or brokers that can't be reached")
}

// archive is the one that the command line names, or the configuration; nil if neither does.
func (s *session) archive(ctx context.Context) (kafka.Archive, error) {
	if s.archived == nil && (s.fromArchive != "" || s.cfg.Archive != nil) {
		a, err := s.cfg.OpenArchive(ctx, s.fromArchive)
		if err != nil {
			return nil, &environmentError{s.cfg.Scrub(err.Error())}
		}
		s.archived = a
	}
	return s.archived, nil
}
