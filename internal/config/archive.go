package config

import (
	"context"
	"strings"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/sink"
)

// Archive is where records of topics are kept in files, by `oncesink archive run`, for longer than the log has them.
type Archive struct {
	// Location is a directory, as a path or file:///PATH, or a part of a bucket, s3://BUCKET/PREFIX. Credentials of a bucket are those that AWS' own
	// programs find: of the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), a profile, a container, a web identity or the machine.
	Location string `yaml:"location"`
	// Endpoint of a store that speaks S3's protocol and is not Amazon's, such as https://minio:9000. The bucket is named in the path then.
	// Defaults to Amazon's.
	Endpoint string `yaml:"endpoint,omitempty"`
	// Region of the bucket. Defaults to the one that AWS' own programs find, with an endpoint to us-east-1.
	Region string `yaml:"region,omitempty"`
}

func (v *validator) archive(a *Archive) {
	if a == nil {
		return
	}
	if a.Location == "" {
		v.problem("archive.location", "is required: a directory, or s3://BUCKET/PREFIX")
	} else if err := archive.CheckLocation(a.Location); err != nil {
		v.problem("archive.location", "%v", err)
	}
	if a.Endpoint != "" {
		v.address("archive.endpoint", a.Endpoint)
	}
	bucket := strings.HasPrefix(a.Location, "s3://")
	for key, given := range map[string]bool{"endpoint": a.Endpoint != "", "region": a.Region != ""} {
		if given && !bucket {
			v.keyProblem("archive."+key, "is of a bucket: remove it, or have location name one, as s3://BUCKET/PREFIX")
		}
	}
}

// OpenArchive opens the archive at a location, or where none is given the one of the configuration. Of a bucket, endpoint and region are the
// configuration's.
func (c *Config) OpenArchive(ctx context.Context, location string) (*archive.Archive, error) {
	var given Archive
	if c.Archive != nil {
		given = *c.Archive
	}
	if location == "" {
		location = given.Location
	}
	if location == "" {
		return nil, &sink.ConfigError{Problem: "no archive is named", Fix: "set archive.location in the configuration, or name a directory or s3://BUCKET/PREFIX on the command line"}
	}
	return archive.Open(ctx, location, archive.Options{Endpoint: given.Endpoint, Region: given.Region})
}
