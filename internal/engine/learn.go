package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

// LearnFrom gets the schema for want of which [Sink.AddBlindly] failed, for who only looks at records. A schema that nobody has makes faults
// of the records that refer to it. An error, which is the one of AddBlindly where that lacked no schema, says that they can't be read. The
// source may be nil: there is none.
func (s *Sink) LearnFrom(ctx context.Context, schemas event.SchemaSource, err error) error {
	var missing *decode.MissingSchema
	if !errors.As(err, &missing) {
		return err
	}
	if schemas == nil {
		return fmt.Errorf("the records can't be read without %v, and there is no schema registry to ask for it: name it in the section registry of the configuration", missing.SchemaOf)
	}
	b := backoff.WithContext(backoff.NewExponentialBackOff(backoff.WithInitialInterval(100*time.Millisecond), backoff.WithMaxElapsedTime(0)), ctx)
	return backoff.Retry(func() error {
		schema, err := schemas.Schema(ctx, missing.Ref)
		var no *event.NoSchema
		var hopeless *sink.HaltError
		switch {
		case err == nil:
			err = s.Learn(missing.SchemaOf, schema)
		case errors.As(err, &no):
			s.RefuseSchema(missing.SchemaOf, &event.Refusal{Code: NoSchema, Message: no.Error(), Plain: true})
			return nil
		case !errors.As(err, &hopeless):
			return fmt.Errorf("get %v: %w", missing.SchemaOf, err) // it may pass
		default:
			err = fmt.Errorf("get %v: %w", missing.SchemaOf, hopeless.Err)
		}
		if err != nil {
			err = backoff.Permanent(err)
		}
		return err
	}, b)
}

// NoSchema is the code of records whose schema nobody has.
const NoSchema = "ONS20"
