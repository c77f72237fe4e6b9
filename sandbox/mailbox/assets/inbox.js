// Shows new mails without a click: asks for the newest id and reloads when it is another one.
(function () {
  'use strict';
  var here = document.getElementById('newest');
  setInterval(function () {
    var typing = document.activeElement && document.activeElement.tagName === 'INPUT';
    if (document.hidden || typing) return;
    fetch(here.dataset.root + '/api/newest' + location.search)
      .then(function (answer) { return answer.json(); })
      .then(function (newest) { if (String(newest.id) !== here.dataset.id) location.reload(); })
      .catch(function () {});
  }, 2000);
})();
