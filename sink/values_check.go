package sink

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// check refuses a source, an encoding or a zone that the column's type can't
// have, and prepares what the others need.
func (c *column) check() error {
	if err := c.checkEncoding(); err != nil {
		return err
	}
	if err := c.checkZone(); err != nil {
		return err
	}
	if c.unit != "" {
		problem := c.unitProblem(c.unit)
		if problem == "" && c.source.meta == metaTimestamp {
			problem = "$timestamp is a time, and no number that has a unit"
		}
		if problem != "" {
			return errors.New(problem)
		}
	}
	return c.checkMeta()
}

func (c *column) checkEncoding() error {
	switch {
	case c.encoding != "" && c.kind != kindBytea:
		return fmt.Errorf("encoding is for bytea, and the column's type is %s", c.typ)
	case c.encoding != "" && c.encoding != "base64" && c.encoding != "hex":
		return fmt.Errorf(`encoding is "base64" or "hex", not %q`, c.encoding)
	case c.encoding == "" && c.kind == kindBytea && (!c.source.raw() || c.array):
		return errors.New(`a bytea column says how its bytes are written: encoding "base64" or "hex" (rule 28)`)
	}
	return nil
}

func (c *column) checkZone() error {
	if c.zone == "" {
		return nil
	}
	if c.kind != kindDate {
		return fmt.Errorf("zone is for date, and the column's type is %s", c.typ)
	}
	if c.zone == "Local" {
		return errors.New("zone Local is another one on every host: name it")
	}
	var err error
	if c.location, err = time.LoadLocation(c.zone); err != nil {
		return fmt.Errorf("zone %q is not known: write it as in Europe/Berlin", c.zone)
	}
	return nil
}

func (c *column) checkRounding(rounding string) error {
	switch {
	case rounding == "":
		return nil
	case rounding != roundingAllow && rounding != roundingRefuse:
		return fmt.Errorf("rounding is %s or %s, not %q", roundingAllow, roundingRefuse, rounding)
	case !c.rounds():
		return fmt.Errorf("rounding is for numeric, time and timestamp, and the column's type is %s", c.typ)
	}
	return nil
}

// checkMeta checks that the record's place or time is something for the column.
func (c *column) checkMeta() error {
	var name string
	var kinds []kind
	switch c.source.meta {
	case metaTopic:
		name, kinds = "$topic", []kind{kindText, kindJSON, kindOther}
	case metaPartition:
		name, kinds = "$partition", []kind{kindInt, kindNumeric, kindFloat, kindText, kindJSON, kindOther}
	case metaOffset:
		name, kinds = "$offset", []kind{kindInt, kindNumeric, kindFloat, kindText, kindJSON, kindOther}
	case metaIndex:
		name, kinds = "$index", []kind{kindInt, kindNumeric, kindFloat, kindText, kindJSON, kindOther}
	case metaTimestamp:
		name, kinds = "$timestamp", []kind{kindDate, kindTime, kindTimeTZ, kindText, kindJSON, kindOther}
		if c.kind == kindDate && c.zone == "" {
			return errors.New("a date from $timestamp names its zone, as in zone: UTC (rule 28)")
		}
	default:
		return nil
	}
	if c.array || !slices.Contains(kinds, c.kind) {
		return fmt.Errorf("%s is nothing for type %s", name, c.typ)
	}
	return nil
}
