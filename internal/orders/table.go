package orders

// CreateTable makes a table for orders. Its columns are the events' fields, and the
// customer's id and country.
const CreateTable = `create table orders (
    order_id    bigint primary key,
    customer_id bigint not null,
    country     text not null,
    status      text not null,
    items       jsonb not null,
    amount      numeric(12, 2) not null,
    placed_at   timestamptz not null,
    updated_at  timestamptz not null
) with (fillfactor = 50)`

// CreateItems makes a table for the items of orders.
const CreateItems = `create table order_items (
    order_id bigint references orders,
    line     integer,
    sku      text not null,
    quantity integer not null,
    price    numeric(12, 2) not null,
    primary key (order_id, line)
) with (fillfactor = 50)`
