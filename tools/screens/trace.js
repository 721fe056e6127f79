// In Perfetto: shows a few steps of the first epoch and selects one, so that its arrows appear.
(async () => {
  while (!app.trace) await new Promise((done) => setTimeout(done, 500));
  const { trace } = app;
  const step = await trace.engine.query(`
    select slice.id as id, ts, dur from slice
    join thread_track on slice.track_id = thread_track.id join thread using (utid)
    where slice.name = 'step 12' and thread.name like 'train%' order by ts limit 1`);
  const { id, ts, dur } = step.firstRow({ id: 0, ts: 0n, dur: 0n });
  trace.selection.selectSqlEvent('slice', id);
  trace.timeline.setViewportTime(ts - 6n * dur, ts + 3n * dur);
})();
