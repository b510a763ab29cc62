-- What the double adds to a backend database, once: Redshift's functions, its system views, and
-- a trigger that makes VARCHAR(n) count bytes. Run by the first session, which must be superuser.

CREATE SCHEMA IF NOT EXISTS redshift_double;
GRANT USAGE ON SCHEMA redshift_double TO PUBLIC;
CREATE SEQUENCE IF NOT EXISTS redshift_double.query_ids;
GRANT USAGE ON SEQUENCE redshift_double.query_ids TO PUBLIC;

CREATE TABLE IF NOT EXISTS redshift_double.load_errors (
    userid integer DEFAULT 100, slice integer DEFAULT 0, tbl integer, starttime timestamp,
    session integer, query bigint, filename varchar(256), line_number bigint, colname varchar(127),
    type varchar(10), col_length varchar(10), position integer DEFAULT 0, raw_line varchar(1024),
    raw_field_value varchar(1024), err_code integer, err_reason varchar(512),
    is_partial integer DEFAULT 0, start_offset bigint DEFAULT 0,
    database_name varchar(127) DEFAULT current_database());
CREATE TABLE IF NOT EXISTS redshift_double.load_commits (
    userid integer DEFAULT 100, query bigint, slice integer DEFAULT 0, name varchar(256),
    filename varchar(256), byte_offset integer DEFAULT 0, lines_scanned bigint,
    errors integer DEFAULT 0, curtime timestamp DEFAULT (clock_timestamp() AT TIME ZONE 'utc'),
    status integer DEFAULT 1);
GRANT SELECT, INSERT ON redshift_double.load_errors, redshift_double.load_commits TO PUBLIC;

-- The distribution and sort keys that CREATE TABLE named, which PostgreSQL knows nothing of.
CREATE TABLE IF NOT EXISTS redshift_double.storage_keys (
    relation oid, "column" name, distkey boolean, sortkey integer);
GRANT SELECT, INSERT ON redshift_double.storage_keys TO PUBLIC;

CREATE OR REPLACE FUNCTION redshift_double.require_no_key(relation regclass, dropped name)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held record;
BEGIN
    IF (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = require_no_key.relation
        AND a.attnum > 0 AND NOT a.attisdropped) = 1 THEN
        RAISE EXCEPTION 'cannot drop the last column of a table' USING ERRCODE = '0A000';
    END IF;
    SELECT k.distkey, k.sortkey INTO held FROM redshift_double.storage_keys k
    WHERE k.relation = require_no_key.relation AND k."column" = dropped;
    IF held.distkey THEN
        RAISE EXCEPTION 'cannot drop distkey column "%"', dropped USING ERRCODE = '0A000';
    ELSIF held.sortkey > 0 THEN
        RAISE EXCEPTION 'cannot drop sortkey column "%"', dropped USING ERRCODE = '0A000';
    END IF;
END $$;

-- The encodings that columns were given, by number: a column that is renamed keeps its own.
CREATE TABLE IF NOT EXISTS redshift_double.encodings (
    relation oid, attnum smallint, encoding text, PRIMARY KEY (relation, attnum));
GRANT SELECT, INSERT, UPDATE ON redshift_double.encodings TO PUBLIC;

CREATE OR REPLACE FUNCTION redshift_double.require_lengthened(relation regclass, altered name)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    col record;
BEGIN
    SELECT a.attnum, a.atthasdef, e.encoding INTO col
    FROM pg_attribute a LEFT JOIN redshift_double.encodings e
      ON e.relation = a.attrelid AND e.attnum = a.attnum
    WHERE a.attrelid = require_lengthened.relation AND a.attname = altered;
    IF col.encoding IN ('bytedict', 'runlength', 'text255', 'text32k') THEN
        RAISE EXCEPTION 'cannot alter column "%" with encoding %', altered, col.encoding
            USING ERRCODE = '0A000';
    ELSIF col.atthasdef THEN
        RAISE EXCEPTION 'cannot alter column "%" with a default value', altered
            USING ERRCODE = '0A000';
    ELSIF EXISTS (SELECT FROM redshift_double.pg_constraint k
                  WHERE k.conrelid = require_lengthened.relation AND col.attnum = ANY (k.conkey))
    THEN
        RAISE EXCEPTION 'cannot alter column "%" with UNIQUE, PRIMARY KEY or FOREIGN KEY', altered
            USING ERRCODE = '0A000';
    END IF;
END $$;

-- VARCHAR(n) counts bytes, CHAR is ASCII, DECIMAL(19, s) stops at int64 -------------------------

CREATE OR REPLACE FUNCTION redshift_double.add_checks(relation regclass) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    col record;
    wanted text;
    rule text;
    old text;
BEGIN
    FOR col IN
        SELECT attnum, attname, atttypid::regtype::text AS kind, atttypmod AS typmod
        FROM pg_attribute
        WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped AND atttypmod > 0
          AND atttypid IN ('varchar'::regtype, 'bpchar'::regtype, 'numeric'::regtype)
    LOOP
        IF col.kind = 'character varying' THEN
            wanted := format('rs_bytes_%s_%s', col.attnum, col.typmod - 4);
            rule := format('octet_length(%I) <= %s', col.attname, col.typmod - 4);
        ELSIF col.kind = 'character' THEN
            wanted := format('rs_ascii_%s', col.attnum);
            rule := format('octet_length(%1$I::text) = char_length(%1$I::text)', col.attname);
        ELSIF (col.typmod - 4) >> 16 = 19 THEN
            wanted := format('rs_int64_%s_%s', col.attnum, (col.typmod - 4) & 65535);
            rule := format('abs(%I) <= 9223372036854775807::numeric / 1e%s', col.attname,
                           (col.typmod - 4) & 65535);
        ELSE
            CONTINUE;
        END IF;
        FOR old IN
            SELECT conname FROM pg_constraint WHERE conrelid = relation AND contype = 'c'
              AND conname ~ format('^rs_[a-z0-9]+_%s(_|$)', col.attnum) AND conname <> wanted
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', relation, old);
        END LOOP;
        IF NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = relation AND conname = wanted)
        THEN
            EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (%s)', relation, wanted, rule);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION redshift_double.on_ddl() RETURNS event_trigger
LANGUAGE plpgsql AS $$
DECLARE
    command record;
BEGIN
    FOR command IN
        SELECT objid FROM pg_event_trigger_ddl_commands() d
        JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'r'
        WHERE d.classid = 'pg_class'::regclass AND d.schema_name <> 'redshift_double'
    LOOP
        PERFORM redshift_double.add_checks(command.objid::regclass);
    END LOOP;
END $$;
DROP EVENT TRIGGER IF EXISTS redshift_double_ddl;
CREATE EVENT TRIGGER redshift_double_ddl ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'ALTER TABLE')
    EXECUTE FUNCTION redshift_double.on_ddl();

-- Helpers of single commands --------------------------------------------------------------------

-- No text in a SUPER is longer than a VARCHAR can be.
-- https://docs.aws.amazon.com/redshift/latest/dg/limitations-super.html
CREATE OR REPLACE FUNCTION redshift_double.super_of(value text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    parsed jsonb := value::jsonb;
BEGIN
    IF octet_length(value) > 65537 AND EXISTS (
        SELECT FROM jsonb_path_query(parsed, 'strict $.**') AS part
        WHERE jsonb_typeof(part) = 'string' AND octet_length(part #>> '{}') > 65535
    ) THEN
        RAISE EXCEPTION 'JSON_PARSE() error: String value exceeds the max size of 65535 bytes';
    END IF;
    RETURN parsed;
END $$;

CREATE OR REPLACE FUNCTION redshift_double.cast_error(value text, kind text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    IF kind ~ '^numeric' AND value !~ '^ *[-+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)? *$' THEN
        RETURN 'Invalid digit, Value ''' || left(value, 1) || ''', Pos 0, Type: Decimal';
    END IF;
    IF kind = 'bytea' THEN
        PERFORM decode(value, 'hex');
    ELSIF kind = 'jsonb' THEN
        PERFORM redshift_double.super_of(value);
    ELSE
        EXECUTE format('SELECT %L::%s', value, kind);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;

CREATE OR REPLACE FUNCTION redshift_double.require_table(relation regclass) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = relation) <> 'r' THEN
        RAISE EXCEPTION 'MERGE source "%" is not a table', relation USING ERRCODE = '42809';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION redshift_double.require_same_columns(target regclass, source regclass)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = target AND attnum > 0 AND NOT attisdropped)
       IS DISTINCT FROM
       (SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = source AND attnum > 0 AND NOT attisdropped)
    THEN
        RAISE EXCEPTION 'MERGE REMOVE DUPLICATES needs the same columns in the same order in both tables'
            USING ERRCODE = '42P10';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION redshift_double.append(
    target regclass, source regclass, ignore_extra boolean, fill_target boolean)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    extra text;
    missing text;
    columns text;
    moved bigint;
BEGIN
    SELECT string_agg(quote_ident(s.attname), ', ' ORDER BY s.attnum)
               FILTER (WHERE t.attname IS NOT NULL),
           min(s.attname) FILTER (WHERE t.attname IS NULL)
      INTO columns, extra
      FROM pg_attribute s
      LEFT JOIN pg_attribute t ON t.attrelid = target AND t.attname = s.attname AND t.attnum > 0
       AND t.atttypid = s.atttypid AND t.atttypmod = s.atttypmod AND NOT t.attisdropped
     WHERE s.attrelid = source AND s.attnum > 0 AND NOT s.attisdropped;
    SELECT min(t.attname) INTO missing
      FROM pg_attribute t
      LEFT JOIN pg_attribute s ON s.attrelid = source AND s.attname = t.attname AND s.attnum > 0
       AND NOT s.attisdropped
     WHERE t.attrelid = target AND t.attnum > 0 AND NOT t.attisdropped AND s.attname IS NULL;
    IF extra IS NOT NULL AND NOT ignore_extra THEN
        RAISE EXCEPTION 'Source table column "%" is not in the target table as the same type. Use IGNOREEXTRA.',
            extra USING ERRCODE = 'XX000';
    ELSIF missing IS NOT NULL AND NOT fill_target THEN
        RAISE EXCEPTION 'Target table column "%" is not in the source table. Use FILLTARGET.',
            missing USING ERRCODE = 'XX000';
    END IF;
    EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s', target, columns, columns, source);
    GET DIAGNOSTICS moved = ROW_COUNT;
    EXECUTE format('DELETE FROM %s', source);
    RETURN moved;
END $$;

-- Redshift's functions --------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql STABLE AS
$$ SELECT 'PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC gcc (GCC) 3.4.2 20041017 (Red Hat 3.4.2-6.fc3), Redshift 1.0.123456'::text $$;
CREATE OR REPLACE FUNCTION pg_catalog.getdate() RETURNS timestamp LANGUAGE sql VOLATILE AS
$$ SELECT date_trunc('second', clock_timestamp() AT TIME ZONE 'utc') $$;
CREATE OR REPLACE FUNCTION pg_catalog.sysdate() RETURNS timestamp LANGUAGE sql STABLE AS
$$ SELECT now() AT TIME ZONE 'utc' $$;
CREATE OR REPLACE FUNCTION pg_catalog.round(double precision, integer) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT pg_catalog.round($1::numeric, $2)::double precision $$;
CREATE OR REPLACE FUNCTION pg_catalog.len(text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT char_length($1) $$;
CREATE OR REPLACE FUNCTION pg_catalog.sha2(text, integer) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT CASE $2
    WHEN 224 THEN encode(sha224(convert_to($1, 'UTF8')), 'hex')
    WHEN 384 THEN encode(sha384(convert_to($1, 'UTF8')), 'hex')
    WHEN 512 THEN encode(sha512(convert_to($1, 'UTF8')), 'hex')
    ELSE encode(sha256(convert_to($1, 'UTF8')), 'hex') END $$;
CREATE OR REPLACE FUNCTION pg_catalog.strtol(text, integer) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    total numeric := 0;
    digit text;
BEGIN
    IF $2 = 16 AND length($1) < 16 THEN
        RETURN ('x' || lpad($1, 16, '0'))::bit(64)::bigint;
    END IF;
    FOREACH digit IN ARRAY regexp_split_to_array(lower($1), '') LOOP
        total := total * $2 + strpos('0123456789abcdefghijklmnopqrstuvwxyz', digit) - 1;
    END LOOP;
    RETURN total::bigint;
END $$;
CREATE OR REPLACE FUNCTION pg_catalog.to_hex(bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    IF octet_length($1) > 32767 THEN
        RAISE EXCEPTION 'Value too long for type character varying' USING ERRCODE = '22001';
    END IF;
    RETURN encode($1, 'hex');
END $$;
CREATE OR REPLACE FUNCTION pg_catalog.to_varbyte(text, text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT decode($1, $2) $$;
CREATE OR REPLACE FUNCTION pg_catalog.json_typeof(jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT jsonb_typeof($1) $$;
CREATE OR REPLACE FUNCTION pg_catalog.json_parse(text) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT redshift_double.super_of($1) $$;
CREATE OR REPLACE FUNCTION pg_catalog.json_serialize(jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $1::text $$;
-- A SUPER that is no scalar is cast to NULL, and a string of it to the text without its quotes.
CREATE OR REPLACE FUNCTION redshift_double.super_as_text(jsonb) RETURNS varchar
LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE WHEN jsonb_typeof($1) IN ('string', 'number', 'boolean') THEN $1 #>> '{}' END $$;
DROP CAST IF EXISTS (jsonb AS varchar);
CREATE CAST (jsonb AS varchar) WITH FUNCTION redshift_double.super_as_text(jsonb);
CREATE OR REPLACE FUNCTION pg_catalog.convert_timezone(text, timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $2 AT TIME ZONE 'utc' AT TIME ZONE $1 $$;
CREATE OR REPLACE FUNCTION pg_catalog.convert_timezone(text, text, timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $3 AT TIME ZONE $1 AT TIME ZONE $2 $$;
CREATE OR REPLACE FUNCTION pg_catalog.trunc(timestamp) RETURNS date
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT $1::date $$;
CREATE OR REPLACE FUNCTION pg_catalog.last_day(timestamp) RETURNS date LANGUAGE sql
IMMUTABLE STRICT AS $$ SELECT (date_trunc('month', $1) + interval '1 month - 1 day')::date $$;
CREATE OR REPLACE FUNCTION pg_catalog.dateadd(part text, amount bigint, moment timestamp)
RETURNS timestamp LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT $3 + CASE lower($1)
        WHEN 'quarter' THEN $2 * 3 * interval '1 month'
        WHEN 'quarters' THEN $2 * 3 * interval '1 month'
        ELSE $2 * ('1 ' || $1)::interval END $$;
-- Not STRICT, so that PostgreSQL puts its expression in the place of its call.
CREATE OR REPLACE FUNCTION pg_catalog.datediff(part text, first timestamp, last timestamp)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE rtrim(lower($1), 's')
        WHEN 'year' THEN extract(year FROM $3) - extract(year FROM $2)
        WHEN 'quarter' THEN (extract(year FROM $3) - extract(year FROM $2)) * 4
            + extract(quarter FROM $3) - extract(quarter FROM $2)
        WHEN 'month' THEN (extract(year FROM $3) - extract(year FROM $2)) * 12
            + extract(month FROM $3) - extract(month FROM $2)
        WHEN 'week' THEN (date_trunc('week', $3)::date - date_trunc('week', $2)::date) / 7
        WHEN 'day' THEN $3::date - $2::date
        WHEN 'hour' THEN extract(epoch FROM date_trunc('hour', $3) - date_trunc('hour', $2)) / 3600
        WHEN 'minute' THEN
            extract(epoch FROM date_trunc('minute', $3) - date_trunc('minute', $2)) / 60
        WHEN 'second' THEN
            extract(epoch FROM date_trunc('second', $3) - date_trunc('second', $2))
        WHEN 'millisecond' THEN floor(extract(epoch FROM $3 - $2) * 1000)
        WHEN 'microsecond' THEN extract(epoch FROM $3 - $2) * 1000000
        END::bigint $$;
-- SUM of whole numbers is a BIGINT, which overflows; `sum(` is led to these. Their functions are
-- PostgreSQL's own, for their speed: so the error is its, too ("bigint out of range").
CREATE OR REPLACE AGGREGATE redshift_double.sum(smallint) (
    sfunc = int2_sum, stype = bigint, combinefunc = int8pl, parallel = safe);
CREATE OR REPLACE AGGREGATE redshift_double.sum(integer) (
    sfunc = int4_sum, stype = bigint, combinefunc = int8pl, parallel = safe);
CREATE OR REPLACE AGGREGATE redshift_double.sum(bigint) (
    sfunc = int8pl, stype = bigint, combinefunc = int8pl, parallel = safe);
CREATE OR REPLACE AGGREGATE redshift_double.sum(numeric) (
    sfunc = numeric_avg_accum, stype = internal, finalfunc = numeric_sum,
    combinefunc = numeric_avg_combine, serialfunc = numeric_avg_serialize,
    deserialfunc = numeric_avg_deserialize, parallel = safe);
CREATE OR REPLACE AGGREGATE redshift_double.sum(double precision) (
    sfunc = float8pl, stype = double precision, combinefunc = float8pl, parallel = safe);

CREATE OR REPLACE FUNCTION pg_catalog.pg_last_copy_count() RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('redshift_double.copy_count', true), ''), '0')::bigint $$;
CREATE OR REPLACE FUNCTION pg_catalog.pg_last_copy_id() RETURNS bigint LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('redshift_double.copy_id', true), ''), '-1')::bigint $$;

-- What CREATE DATABASE … COLLATE has set; PostgreSQL's comparisons tell case in any case.
CREATE OR REPLACE FUNCTION pg_catalog.db_collation() RETURNS text LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('redshift_double.db_collation', true), ''),
                   'case_sensitive') $$;

-- Redshift's system views -----------------------------------------------------------------------

-- A declared key is a CHECK here, which holds for every row and ends with the key's kind and, of a
-- foreign key, the table that it points to; no other CHECK is let in.
CREATE OR REPLACE VIEW redshift_double.pg_constraint AS
SELECT oid, conname, connamespace,
       COALESCE(substring(pg_get_constraintdef(oid) FROM '<> ''([uf]):'), 'p')::"char" AS contype,
       conrelid, conkey,
       COALESCE(to_regclass(substring(
           pg_get_constraintdef(oid) FROM '<> ''f:(.*)''::text[)]+$')), 0)::oid AS confrelid
FROM pg_catalog.pg_constraint
WHERE contype = 'c' AND conrelid <> 0 AND conname !~ '^rs_(bytes|ascii|int64)_';
GRANT SELECT ON redshift_double.pg_constraint TO PUBLIC;

SET allow_system_table_mods = on;

CREATE OR REPLACE VIEW pg_catalog.stl_load_errors AS
SELECT userid, slice, tbl, starttime, session, query, filename, line_number, colname, type,
       col_length, position, raw_line, raw_field_value, err_code, err_reason, is_partial,
       start_offset
FROM redshift_double.load_errors;

CREATE OR REPLACE VIEW pg_catalog.sys_load_error_detail AS
SELECT userid AS user_id, query AS query_id, 0::bigint AS transaction_id, session AS session_id,
       database_name, tbl AS table_id, starttime AS start_time, filename AS file_name, line_number,
       colname AS column_name, type AS column_type, col_length AS column_length, position,
       err_code AS error_code, err_reason AS error_message
FROM redshift_double.load_errors;

CREATE OR REPLACE VIEW pg_catalog.stl_load_commits AS
SELECT userid, query, slice, name, filename, byte_offset, lines_scanned, errors, curtime, status
FROM redshift_double.load_commits;

CREATE OR REPLACE VIEW redshift_double.columns AS
SELECT table_catalog, table_schema, table_name, column_name, ordinal_position, column_default,
       is_nullable,
       CASE data_type WHEN 'jsonb' THEN 'super' WHEN 'bytea' THEN 'binary varying'
           ELSE data_type END AS data_type,
       CASE WHEN data_type = 'bytea' THEN 65535 ELSE character_maximum_length END
           ::integer AS character_maximum_length,
       numeric_precision, numeric_precision_radix, numeric_scale, datetime_precision
FROM information_schema.columns
WHERE table_schema <> 'redshift_double';
GRANT SELECT ON redshift_double.columns TO PUBLIC;

CREATE OR REPLACE VIEW pg_catalog.svv_columns AS
SELECT *, NULL::text AS remarks FROM redshift_double.columns;

CREATE OR REPLACE VIEW pg_catalog.svv_redshift_columns AS
SELECT c.table_catalog::text AS database_name, c.table_schema::text AS schema_name,
       c.table_name::text AS table_name, c.column_name::text AS column_name,
       c.ordinal_position::integer AS ordinal_position, c.data_type::text AS data_type,
       c.column_default::text AS column_default, c.is_nullable::text AS is_nullable,
       COALESCE(e.encoding, 'none') AS encoding, COALESCE(k.distkey, false) AS distkey,
       COALESCE(k.sortkey, 0) AS sortkey, NULL::text AS column_acl, NULL::text AS remarks
FROM redshift_double.columns c
LEFT JOIN pg_attribute a ON a.attname = c.column_name AND a.attrelid =
    to_regclass(quote_ident(c.table_schema) || '.' || quote_ident(c.table_name))
LEFT JOIN redshift_double.encodings e ON e.relation = a.attrelid AND e.attnum = a.attnum
LEFT JOIN redshift_double.storage_keys k ON k."column" = c.column_name AND k.relation =
    to_regclass(quote_ident(c.table_schema) || '.' || quote_ident(c.table_name));

CREATE OR REPLACE VIEW pg_catalog.svv_tables AS
SELECT table_catalog, table_schema, table_name, table_type, NULL::text AS remarks
FROM information_schema.tables;

CREATE OR REPLACE VIEW pg_catalog.svv_redshift_schemas AS
SELECT current_database()::text AS database_name, nspname::text AS schema_name,
       nspowner::integer AS schema_owner, 'local'::text AS schema_type, nspacl::text AS schema_acl,
       NULL::text AS schema_option
FROM pg_namespace WHERE nspname <> 'redshift_double';

CREATE OR REPLACE VIEW pg_catalog.pg_table_def AS
SELECT n.nspname AS schemaname, c.relname AS tablename, a.attname AS "column",
       CASE format_type(a.atttypid, a.atttypmod) WHEN 'jsonb' THEN 'super'
           WHEN 'bytea' THEN 'binary varying(64000)'
           ELSE format_type(a.atttypid, a.atttypmod) END AS type,
       'none'::text AS encoding, false AS distkey, 0 AS sortkey, a.attnotnull AS "notnull"
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname = ANY (current_schemas(false));

CREATE OR REPLACE VIEW pg_catalog.svv_table_info AS
SELECT current_database()::text AS "database", n.nspname::text AS "schema", c.oid::integer AS table_id,
       c.relname::text AS "table", 'Y, AUTO(ENCODE)'::text AS encoded, 'AUTO(ALL)'::text AS diststyle,
       'AUTO(SORTKEY)'::text AS sortkey1,
       (SELECT max(atttypmod - 4) FROM pg_attribute
         WHERE attrelid = c.oid AND atttypid = 'varchar'::regtype) AS max_varchar,
       0 AS sortkey_num, ceil(pg_table_size(c.oid) / 1048576.0)::bigint AS size,
       0::numeric AS pct_used, 0::bigint AS empty, 0::numeric AS unsorted, 0::numeric AS stats_off,
       greatest(c.reltuples, 0)::numeric(38, 0) AS tbl_rows, 0::numeric AS skew_sortkey1,
       0::numeric AS skew_rows, greatest(c.reltuples, 0)::numeric(38, 0) AS estimated_visible_rows
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'redshift_double');

GRANT SELECT ON pg_catalog.stl_load_errors, pg_catalog.sys_load_error_detail,
    pg_catalog.stl_load_commits, pg_catalog.svv_columns, pg_catalog.svv_tables,
    pg_catalog.svv_redshift_columns,
    pg_catalog.svv_redshift_schemas, pg_catalog.pg_table_def, pg_catalog.svv_table_info TO PUBLIC;
RESET allow_system_table_mods;
