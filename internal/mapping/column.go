package mapping

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/source"
	"github.com/oncesink/oncesink/internal/tables"
)

// checkColumn refuses a source, an encoding, a unit or a zone that the column's type can't
// have, and prepares what the others need.
func checkColumn(c *tables.Column) error {
	if err := checkEncoding(c); err != nil {
		return err
	}
	if err := checkZone(c); err != nil {
		return err
	}
	if c.Unit != "" {
		if problem := c.UnitProblem(c.Unit); problem != "" {
			return errors.New(problem)
		}
	}
	if c.Scaled {
		if problem := c.ScaleProblem(c.Scale); problem != "" {
			return errors.New(problem)
		}
	}
	return checkMeta(c)
}

// setScale tells the column how many digits of texts stand after the point.
func setScale(c *tables.Column, scale *int32) {
	if scale != nil {
		c.Scaled, c.Scale = true, *scale
	}
}

func checkEncoding(c *tables.Column) error {
	switch {
	case c.Encoding == pgtext.EncodingJSON && (c.Kind != pgtext.KindJSON || c.Array):
		return fmt.Errorf("encoding json is for json and jsonb, and the column's type is %s", c.Declared)
	case c.Encoding != "" && c.Encoding != pgtext.EncodingJSON && c.Kind != pgtext.KindBytea:
		return fmt.Errorf("encoding %s is for bytea, and the column's type is %s", c.Encoding, c.Declared)
	case c.Encoding == "" && c.Kind == pgtext.KindBytea && (!c.Source.Raw() || c.Array):
		return errors.New(`a bytea column says how its bytes are written: encoding "base64" or "hex"`)
	}
	return nil
}

func checkZone(c *tables.Column) error {
	if c.Zone == "" {
		return nil
	}
	if c.Kind != pgtext.KindDate {
		return fmt.Errorf("zone is for date, and the column's type is %s", c.Declared)
	}
	var err error
	if c.Location, err = time.LoadLocation(c.Zone); err != nil {
		return fmt.Errorf("zone %q is not known", c.Zone)
	}
	return nil
}

func checkRounding(c *tables.Column, rounding string) error {
	if rounding != "" && !c.Rounds() {
		return fmt.Errorf("rounding is for numeric, time and timestamp, and the column's type is %s", c.Declared)
	}
	return nil
}

// checkMeta checks that the record's place or time is something for the column.
func checkMeta(c *tables.Column) error {
	var name string
	var kinds []pgtext.Kind
	switch c.Source.Meta {
	case source.Topic:
		name, kinds = "$topic", []pgtext.Kind{pgtext.KindText, pgtext.KindJSON, pgtext.KindOther}
	case source.Partition:
		name, kinds = "$partition", []pgtext.Kind{pgtext.KindInt, pgtext.KindNumeric, pgtext.KindFloat, pgtext.KindText, pgtext.KindJSON, pgtext.KindOther}
	case source.Offset:
		name, kinds = "$offset", []pgtext.Kind{pgtext.KindInt, pgtext.KindNumeric, pgtext.KindFloat, pgtext.KindText, pgtext.KindJSON, pgtext.KindOther}
	case source.Index:
		name, kinds = "$index", []pgtext.Kind{pgtext.KindInt, pgtext.KindNumeric, pgtext.KindFloat, pgtext.KindText, pgtext.KindJSON, pgtext.KindOther}
	case source.Timestamp:
		name, kinds = "$timestamp", []pgtext.Kind{pgtext.KindDate, pgtext.KindTime, pgtext.KindTimeTZ, pgtext.KindText, pgtext.KindJSON, pgtext.KindOther}
		if c.Kind == pgtext.KindDate && c.Zone == "" {
			return errors.New("a date from $timestamp names its zone, as in zone: UTC")
		}
	default:
		return nil
	}
	if c.Array || !slices.Contains(kinds, c.Kind) {
		return fmt.Errorf("%s is nothing for type %s", name, c.Declared)
	}
	return nil
}
