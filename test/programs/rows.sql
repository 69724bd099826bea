-- SPDX-License-Identifier: BSD-2-Clause
-- 100,000 rows: inserted, indexed, changed, rolled back, deleted, packed, and the file checked.
create table t(id integer primary key, name text, n integer);
begin;
with recursive c(i) as (select 1 union all select i + 1 from c where i < 100000) insert into t select i, 'name ' || i, i * 7919 % 100003 from c;
commit;
create index tn on t(n);
select count(*), sum(n), min(n), max(n) from t;
begin;
delete from t where id < 50000;
rollback;
update t set n = n + 1 where id % 3 = 0;
delete from t where id % 10 = 0;
select count(*), sum(n) from t where n between 1000 and 50000;
vacuum;
pragma integrity_check;
