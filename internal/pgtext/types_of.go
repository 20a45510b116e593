package pgtext

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Types are the types of a table's columns and all that these are made of, by oid.
type Types map[uint32]*pgType

// pgType is a type as far as its texts are concerned.
type pgType struct {
	name, base string // pg_type.typname; the same with its schema, if it needs one
	enum       bool
	domainOf   uint32 // the type below a domain, and the modifier that the domain gives it
	typmod     int32
	element    uint32 // of an array
	delimiter  string // between elements of an array of this type
	subtype    uint32 // of a range, or of a multirange's ranges
	multi      bool   // it is a multirange
	attributes []uint32
	modifiers  []int32 // of the attributes
}

// readTypes reads the types with these oids, and those that they are made of.
func Read(ctx context.Context, tx pgx.Tx, oids []uint32) (Types, error) {
	rows, err := tx.Query(ctx, `
		with recursive reached (oid) as (
			select unnest($1::oid[])
			union
			select k.oid from reached r cross join lateral (
			       select unnest(array[t.typbasetype, t.typelem]) from pg_type t where t.oid = r.oid
			       union all select rngsubtype from pg_range where r.oid in (rngtypid, rngmultitypid)
			       union all select a.atttypid from pg_type t join pg_attribute a on a.attrelid = t.typrelid
			                  where t.oid = r.oid and t.typtype = 'c' and a.attnum > 0 and not a.attisdropped) k (oid)
			 where k.oid <> 0
		)
		select t.oid, t.typname, format_type(t.oid, -1), t.typtype = 'e', t.typbasetype, t.typtypmod,
		       case when t.typcategory = 'A' and t.typtype = 'b' then t.typelem else 0 end, t.typdelim::text,
		       coalesce(r.rngsubtype, 0), t.typtype = 'm',
		       coalesce(a.types, '{}'), coalesce(a.modifiers, '{}')
		  from reached join pg_type t using (oid)
		  left join pg_range r on t.oid in (r.rngtypid, r.rngmultitypid)
		  left join lateral (select array_agg(atttypid order by attnum) as types, array_agg(atttypmod order by attnum) as modifiers
		                       from pg_attribute where t.typtype = 'c' and attrelid = t.typrelid and attnum > 0 and not attisdropped) a on true`, oids)
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	out := Types{}
	var oid uint32
	var t pgType
	_, err = pgx.ForEachRow(rows, []any{&oid, &t.name, &t.base, &t.enum, &t.domainOf, &t.typmod, &t.element, &t.delimiter, &t.subtype, &t.multi, &t.attributes, &t.modifiers}, func() error {
		read := t
		read.attributes, read.modifiers = append([]uint32(nil), t.attributes...), append([]int32(nil), t.modifiers...)
		out[oid] = &read
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	return out, nil
}

// Describe says what values of a type are made of, domains followed down to
// their base type: that is the one whose input function reads a text.
func (ts Types) Describe(oid uint32, typmod int32) Type {
	t := ts[oid]
	for ; t.domainOf != 0; t = ts[t.domainOf] {
		if typmod == -1 {
			typmod = t.typmod
		}
	}
	c := Type{Base: t.base, Typmod: typmod, Enum: t.enum, Kind: kindOf(t.name), Delimiter: ','}
	part := func(oid uint32, typmod int32) {
		p := ts.Describe(oid, typmod)
		p.Declared = p.Base
		c.Parts = append(c.Parts, p)
	}
	switch {
	case t.element != 0:
		part(t.element, typmod)
		c.Form, c.Array, c.Kind = formArray, true, c.Parts[0].Kind
		c.Delimiter = ts[t.element].delimiter[0]
	case t.subtype != 0:
		part(t.subtype, -1)
		c.Form, c.Kind = formRange, kindNested
		if t.multi {
			c.Form = formMultirange
		}
	case len(t.attributes) > 0:
		c.Form, c.Kind = formComposite, kindNested
		for i, oid := range t.attributes {
			part(oid, t.modifiers[i])
		}
	}
	return c
}
